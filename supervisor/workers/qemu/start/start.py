"""Launching a guest: from its document to an emulator whose processors run.

Owns: the order of a start, and undoing it. May touch: the guest's files, folders and process.
May not touch: definitions, other guests.

The status document is written before there is a process. If this worker dies on the way, its
successor finds a status without a process number, ends what was begun, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.emulator import EmulatorFacts
from conf.settings import QemuConfig
from conf.types.cpuset import parse_cpuset
from supervisor.messages.hostd import CpuContext, ProbeEmulator
from supervisor.messages.worker import Start
from supervisor.objects.domain_status_xml import Status, remove_status, write_status
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.context import WorkerContext
from supervisor.workers.display_ports import DisplayPorts
from supervisor.workers.file_owners import chown_for_guest, restore
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.interfaces import detach_port, netd_interfaces
from supervisor.workers.qemu import interfaces
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import Runtime
from supervisor.workers.qemu.argv.secret_encryption import new_master_key, sealer
from supervisor.workers.qemu.block import backing_chains, disk_secrets, nodes
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.files import create_nvram, domain_files, open_outputs
from supervisor.workers.qemu.start.monitor_setup import connect_monitor
from supervisor.workers.qemu.start.startup_policy import drop_missing_disks
from supervisor.workers.qemu.start.unsupported import check_supported
from supervisor.workers.qemu.start.volumes import resolve_volumes
from supervisor.workers.running_guest import new_status, record_process
from supervisor.workers.spawn import (
    Spawning,
    User,
    emulator_user,
    move_to_cgroup,
    remove_cgroup,
    rlimits_of,
    spawn,
    warn_of_root,
)
from supervisor.workers.state_table import PAUSED_AT_START, RUNNING, Trigger
from supervisor.workers.unix_sockets import listen

MONITOR_S: Final = 30.0  # for an emulator to greet on a busy host
KILL_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class StartContext:
    """A start on its way: what it has so far."""

    workplace: WorkerContext
    request: Start
    domain: Domain
    user: User
    status: Status
    folder: Path
    xml: str = ""  # for hooks

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name


async def launch(workplace: WorkerContext, request: Start) -> Guest:
    """Start a guest; whatever fails, nothing is left of it.

    Raises:
        ConfError, VirError: it cannot be started.
    """
    domain = parse_domain(request.xml)
    domain.id = request.id
    check_supported(domain)
    drop_missing_disks(domain)
    folder = workplace.paths.domain_dir(request.id, domain.name)
    label = live_xml.static_dac_label(domain)
    attempt = StartContext(
        workplace=workplace,
        request=request,
        domain=domain,
        user=emulator_user(workplace.config, label),
        status=new_status(domain, request.id, request.autodestroy, str(folder / "monitor.sock")),
        folder=folder,
    )
    warn_of_root(domain.name, attempt.user, workplace.config, label)
    probe = probe_request(domain)
    probed = await workplace.node.link("hostd").call(probe)
    async with AsyncExitStack() as undo:
        guest = await _launch(attempt, probed.facts, undo)
        undo.pop_all()
    return guest


def probe_request(domain: Domain) -> ProbeEmulator:
    """Ask for what the domain's emulator can do for it."""
    kind, cpu = domain.os.type, domain.cpu
    purpose = CpuContext(
        virt_type=domain.type,
        machine=(kind.machine if kind else None) or "",
        cpu=(cpu.model.name if cpu and cpu.model else None) or "",
    )
    arch = (kind.arch if kind else None) or ""
    return ProbeEmulator(binary=domain.devices.emulator or "", arch=arch, purpose=purpose)


async def _launch(attempt: StartContext, facts: EmulatorFacts, undo: AsyncExitStack) -> Guest:
    workplace, domain = attempt.workplace, attempt.domain
    assign_addresses(domain, facts)
    assign_aliases(domain)
    await resolve_volumes(workplace.node.link("stord"), domain.devices.disks)
    with (
        DisplayPorts(workplace.paths.status_dir() / "ports") as ports,
        contextlib.ExitStack() as ours,
    ):
        await _prepare(attempt, ports, undo)
        taps = await _attach_interfaces(attempt, ours, undo)
        end = ours.enter_context(listen(attempt.folder / "monitor.sock"))
        _give(attempt, attempt.folder / "monitor.sock")
        log_file = ours.enter_context(GuestLog(workplace.paths.guest_log(attempt.name)))
        secrets = await disk_secrets.fetch(
            workplace.node.link("hostd"), disk_secrets.domain_sources(domain)
        )
        runtime = make_runtime(attempt, end, taps, secrets, ours)
        numbered, _ = nodes.number_disks(domain.devices.disks)
        for disk, disk_nodes in zip(domain.devices.disks, numbered, strict=True):
            nodes.record_indexes(disk, disk_nodes)
        spawning = plan(attempt, facts, runtime, log_file)
        await _hook(attempt, "start")
        process = _spawn(attempt, spawning, undo)
        end.close()
        guest = Guest(workplace, domain, attempt.status, process)
        undo.callback(guest.close_monitor)
        apart = asyncio.create_task(move_to_cgroup(process.pid, cgroup_name(attempt.status)))
        try:
            await connect_monitor(guest, log_file, MONITOR_S)
        finally:
            await asyncio.wait({apart})
        await _hook(attempt, "started")
    state = PAUSED_AT_START if attempt.request.paused else RUNNING
    if not attempt.request.paused:
        guest.resume_cause = Trigger.BOOTED
        await guest.monitor.execute("cont")
    guest.status.state, guest.status.reason = state.state, state.reason
    guest.live_xml = format_domain(domain, live=True, secure=True)
    guest.save()
    return guest


async def _prepare(attempt: StartContext, ports: DisplayPorts, undo: AsyncExitStack) -> None:
    """Give the guest its folders, ports and files."""
    workplace, domain, paths = attempt.workplace, attempt.domain, attempt.workplace.paths
    identifier, name = attempt.status.id, attempt.name
    channels = paths.channels(identifier, name)
    memory = paths.memory_dir(identifier, name)
    live_xml.fill_channels(domain, channels)
    live_xml.fill_graphics(domain, workplace.config, attempt.folder, ports.reserve)
    live_xml.copy_serial_to_console(domain)
    if not workplace.session:
        live_xml.fill_dac_label(domain, attempt.user.uid, attempt.user.gid)
    attempt.xml = format_domain(domain, live=True)
    undo.push_async_callback(_hook_after, attempt, "release")
    await _hook(attempt, "prepare")
    await backing_chains.complete_chains(domain)
    attempt.xml = format_domain(domain, live=True)
    undo.callback(remove_folders, workplace, attempt.status)
    for folder in (attempt.folder, channels, memory):
        make_folder(folder, attempt.user)
    create_nvram(domain, paths, workplace.config)
    relabels = workplace.config.dynamic_ownership and live_xml.allows_relabel(domain)
    if relabels and not attempt.user.is_own:
        attempt.status.owners = chown_for_guest(domain_files(domain), attempt.user)
        undo.callback(restore, attempt.status.owners)
    write_status(paths.status(name), attempt.status, attempt.xml)
    undo.callback(remove_status, paths.status(name))


async def _attach_interfaces(
    attempt: StartContext, ours: contextlib.ExitStack, undo: AsyncExitStack
) -> interfaces.InterfaceFds:
    """Plug the guest's cards into the host's networks; our descriptors close with the launch."""
    workplace, domain = attempt.workplace, attempt.domain
    if not any(True for _ in netd_interfaces(domain)):
        return interfaces.InterfaceFds()
    undo.push_async_callback(detach_port, workplace, attempt.status.uuid)
    taps = await interfaces.attach_interfaces(
        workplace, domain, lambda fd: ours.callback(os.close, fd)
    )
    attempt.xml = format_domain(domain, live=True)
    write_status(workplace.paths.status(attempt.name), attempt.status, attempt.xml)
    return taps


def make_runtime(
    attempt: StartContext,
    monitor: socket.socket,
    taps: interfaces.InterfaceFds,
    secrets: Mapping[str, bytes],
    ours: contextlib.ExitStack,
) -> Runtime:
    """What the plan needs to know of this launch."""
    config, status = attempt.workplace.config, attempt.status
    paths = attempt.workplace.paths
    char_fds, log_fds = open_outputs(attempt.domain, ours)
    key = new_master_key()
    runtime = Runtime(
        id=status.id,
        domain_dir=str(attempt.folder),
        channel_dir=str(paths.channels(status.id, attempt.name)),
        memory_dir=config.memory_backing_dir or str(paths.memory_dir(status.id, attempt.name)),
        monitor_fd=monitor.fileno(),
        char_fds=char_fds,
        tap_fds=taps.taps,
        vhost_fds=taps.vhosts,
        log_fds=log_fds,
        secrets=secrets,
        seal=sealer(key),
        now=status.started_at,
        default_tls_dir=config.default_tls_x509_cert_dir,
        vnc_listen=config.vnc_listen,
        spice_listen=config.spice_listen,
        vnc_tls_dir=_tls_folder(config.vnc_tls, config.vnc_tls_x509_cert_dir, config),
        vnc_tls_verify=config.vnc_tls_x509_verify,
        spice_tls_dir=_tls_folder(config.spice_tls, config.spice_tls_x509_cert_dir, config),
        vnc_sasl=config.vnc_sasl,
        spice_sasl=config.spice_sasl,
        seccomp=config.seccomp_sandbox != 0,
        numa_nodes=numa_nodes(),
    )
    write_master_key(Path(runtime.master_key_file), key, attempt.user)
    return runtime


def plan(
    attempt: StartContext, facts: EmulatorFacts, runtime: Runtime, log_file: GuestLog
) -> Spawning:
    """Plan the command line, and note it in the guest's log."""
    planned = plan_launch(attempt.domain, facts, runtime)
    version = ".".join(str(part) for part in facts.version)
    log_file.log_start(planned.argv, planned.environ, version)
    return Spawning(
        planned.argv,
        planned.environ,
        planned.fds,
        log_file.fileno(),
        attempt.user,
        rlimits_of(attempt.workplace.config),
    )


def _spawn(attempt: StartContext, spawning: Spawning, undo: AsyncExitStack) -> GuestProcess:
    """Start the emulator."""
    workplace, status = attempt.workplace, attempt.status
    process = GuestProcess.of_child(spawn(spawning))
    undo.push_async_callback(kill, process)
    undo.callback(remove_cgroup, cgroup_name(status))
    record_process(status, process.identity)
    pid_file = workplace.paths.pid_file(attempt.name)
    undo.callback(pid_file.unlink, missing_ok=True)
    pid_file.write_text(f"{process.pid}")
    return process


def cgroup_name(status: Status) -> str:
    """The name of a guest's cgroup."""
    return f"qemu-{status.id}-{status.name[:20]}"


async def kill(process: GuestProcess) -> None:
    """End an emulator that never became a guest."""
    process.send(signal.SIGKILL)
    if not await process.wait_exit(KILL_S):
        log.error("process %d does not end by SIGKILL", process.pid)


async def _hook(attempt: StartContext, operation: str) -> None:
    await attempt.workplace.hooks.run(attempt.name, operation, attempt.xml)


async def _hook_after(attempt: StartContext, operation: str) -> None:
    await attempt.workplace.hooks.notify(attempt.name, operation, attempt.xml)


def make_folder(folder: Path, user: User) -> None:
    """Make a folder that the emulator's user has for itself."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o750)
    if not user.is_own:
        os.chown(folder, user.uid, user.gid)


def remove_folders(workplace: WorkerContext, status: Status) -> None:
    """Remove what a guest had for itself."""
    paths = workplace.paths
    for folder in (
        paths.domain_dir(status.id, status.name),
        paths.channels(status.id, status.name),
        paths.memory_dir(status.id, status.name),
    ):
        shutil.rmtree(folder, ignore_errors=True)


def write_master_key(path: Path, key: bytes, user: User) -> None:
    """Write the key that seals the guest's secrets, for the emulator alone."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key)
        if not user.is_own:
            os.fchown(file.fileno(), user.uid, user.gid)


def _give(attempt: StartContext, path: Path) -> None:
    if not attempt.user.is_own:
        os.chown(path, attempt.user.uid, attempt.user.gid)


def _tls_folder(wanted: bool, own: str, config: QemuConfig) -> str:  # noqa: FBT001
    return (own or config.default_tls_x509_cert_dir) if wanted else ""


def numa_nodes() -> frozenset[int]:
    """The host's NUMA cells."""
    found = {0}
    with contextlib.suppress(OSError):
        text = Path("/sys/devices/system/node/online").read_text().strip()
        found |= parse_cpuset(text)
    return frozenset(found)
