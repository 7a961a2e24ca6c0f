"""The QEMU process of a start: what its command line is planned from, spawning it, its cgroup.

Owns: those. May touch: the new process, its pid file, the master key's file.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.settings import QemuConfig
from supervisor.messages.worker import FreshBoot, LoadSnapshot, StartSource
from supervisor.runtime import scsi_devices
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.emulator_user import User
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.bendable_files import replace_file
from supervisor.workers.cgroups import scopes
from supervisor.workers.cgroups.scopes import Scope
from supervisor.workers.file_owners import chown_for_guest
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import LaunchInputs, PassedImage
from supervisor.workers.qemu.argv.secret_encryption import encryptor, new_master_key
from supervisor.workers.qemu.cgroup.devices import allowed_devices, restrict
from supervisor.workers.qemu.cgroup.placement import in_thread, place, scope_weights
from supervisor.workers.qemu.interfaces import InterfaceFds
from supervisor.workers.qemu.memory_lock import memory_lock
from supervisor.workers.qemu.memory_policy import host_nodes, memory_policy
from supervisor.workers.qemu.namespace.guest_dev import inside_dev, spawn_private
from supervisor.workers.qemu.outputs import OutputFds
from supervisor.workers.qemu.start.files import domain_files
from supervisor.workers.qemu.start.start_context import StartContext
from supervisor.workers.running_guest import record_process
from supervisor.workers.spawn import HeldProcess, Spawning, rlimits_of, spawn, spawn_held

KILL_S: Final = 5.0

log = logging.getLogger(__name__)


def launch_inputs(
    start: StartContext,
    monitor: socket.socket,
    fds: InterfaceFds,
    secrets: Mapping[str, bytes],
    tpm_sockets: Mapping[str, str],
    outputs: OutputFds,
    disk_fds: Mapping[str, PassedImage],
) -> LaunchInputs:
    """Collect what the plan of the command line needs besides the domain.

    Args:
        start: the start.
        monitor: the listening socket that QEMU inherits.
        fds: taps and vhost descriptors.
        secrets: the disks' secrets (`disk_secrets`).
        tpm_sockets: of swtpm, by alias.
        outputs: of character devices.
        disk_fds: of images that are open files (`passed_images`).
    """
    config, status = start.context.config, start.status
    paths = start.context.paths
    key = new_master_key()
    inputs = LaunchInputs(
        id=status.id,
        domain_dir=str(start.domain_dir),
        channel_dir=str(paths.channels(status.id, start.name)),
        memory_dir=str(paths.memory_dir(status.id, start.name, config.memory_backing_dir)),
        incoming=incoming(start.request.source),
        load_snapshot=loaded_snapshot(start.request.source),
        monitor_fd=monitor.fileno(),
        char_fds=outputs.chars,
        disk_fds=disk_fds,
        tap_fds=fds.taps,
        vhost_fds=fds.vhosts,
        log_fds=outputs.logs,
        socket_fds=outputs.sockets,
        secrets=secrets,
        tpm_sockets=tpm_sockets,
        scsi_generic=scsi_devices.generic_nodes(start.domain),
        hugepage_dirs=start.hugepages.guest_dirs(status),
        default_hugepage=start.hugepages.default_kib,
        encrypt=encryptor(key),
        now=status.started_at,
    )
    write_master_key(Path(inputs.master_key_file), key, start.user)
    return with_config(inputs, config)


def with_config(inputs: LaunchInputs, config: QemuConfig) -> LaunchInputs:
    """Add to what a launch has chosen what qemu.conf and the host say."""
    return replace(
        inputs,
        default_tls_dir=config.default_tls_x509_cert_dir,
        vnc_listen=config.vnc_listen,
        spice_listen=config.spice_listen,
        vnc_tls_dir=_tls_dir(config, config.vnc_tls_x509_cert_dir, enabled=config.vnc_tls),
        vnc_tls_verify=config.vnc_tls_x509_verify,
        spice_tls_dir=_tls_dir(config, config.spice_tls_x509_cert_dir, enabled=config.spice_tls),
        vnc_sasl=config.vnc_sasl,
        spice_sasl=config.spice_sasl,
        seccomp=config.seccomp_sandbox != 0,
        names_process=config.set_process_name,
        numa_nodes=host_nodes(),
    )


def incoming(source: StartSource) -> str:
    """Return the argument of -incoming: the stream is named by QMP, once capabilities are set."""
    return "" if isinstance(source, (FreshBoot, LoadSnapshot)) else "defer"


def loaded_snapshot(source: StartSource) -> str:
    """Return the argument of -loadvm; "": none is loaded."""
    return source.name if isinstance(source, LoadSnapshot) else ""


def _tls_dir(config: QemuConfig, own: str, *, enabled: bool) -> str:
    return (own or config.default_tls_x509_cert_dir) if enabled else ""


def write_master_key(path: Path, key: bytes, user: User) -> None:
    """Write the key that decrypts QEMU's secret objects, for QEMU's user alone.

    A command line can be read by every process of the host (/proc/PID/cmdline): secrets are on it
    encrypted, with the key in a file that QEMU opens (`-object secret,file=`).
    """
    replace_file(path, key, user)


def plan_command(
    start: StartContext, inputs: LaunchInputs, log_file: GuestLog, log_fd: int
) -> Spawning:
    """Plan the command line, and write it to the domain's log.

    Args:
        start: the start.
        inputs: of the plan.
        log_file: for the command line.
        log_fd: for QEMU's standard output and error.

    Raises:
        ConfError: "config_unsupported": this QEMU cannot do what the domain needs.
    """
    command = plan_launch(start.domain, start.facts, inputs)
    version = ".".join(str(part) for part in start.facts.version)
    log_file.log_start(command.argv, command.environ, version)
    return Spawning(
        argv=command.argv,
        environ=command.environ,
        fds=command.fds,
        log_fd=log_fd,
        user=start.user,
        rlimits=rlimits_of(start.context.config) | memory_lock(start.domain),
        memory_policy=memory_policy(start.domain, has_cpuset=start.cgroup.has("cpuset")),
    )


async def spawn_qemu(start: StartContext, command: Spawning, undo: AsyncExitStack) -> GuestProcess:
    """Spawn QEMU in its cgroup, and write its pid file.

    Raises:
        ConfError: "config_unsupported": the host cannot limit what the XML limits.
        VirError: INTERNAL_ERROR: it cannot be executed; SYSTEM_ERROR: it cannot have its limits.
    """
    context, status, cgroup = start.context, start.status, start.cgroup
    held = await _spawn_held(start, command)
    undo.callback(held.close)
    process = GuestProcess.open_child(held.pid)
    undo.push_async_callback(kill, process)
    record_process(status, process.identity)
    pid_file = context.paths.pid_file(start.name)
    undo.callback(pid_file.unlink, missing_ok=True)
    write_file(pid_file, b"%d" % process.pid, mode=0o644, durable=False)
    if cgroup.exists:
        await in_thread(lambda: place(cgroup, start.domain, held.pid))
        if start.scope is not None:
            await _enter_scope(start, start.scope, held.pid)
        devices = allowed_devices(start.domain, context.config)
        status.filters_devices = restrict(cgroup, start.name, devices)
    held.release()
    return process


async def _enter_scope(start: StartContext, scope: Scope, pid: int) -> None:
    """Tell systemd of the scope's weights, and machined of the guest that is in it.

    Raises:
        VirError: DBUS_SERVICE, OPERATION_TIMEOUT: they refuse, or do not answer.
    """
    await scope.release()
    await scopes.set_weights(scope.machine.unit, scope_weights(start.cgroup, start.domain))
    await scopes.register(scope.machine, pid, network_indexes(start.domain))


def network_indexes(domain: Domain) -> list[int]:
    """List the indexes of a guest's network devices on the host; one that is gone has none."""
    indexes = []
    for interface in domain.devices.interfaces:
        with contextlib.suppress(OSError):
            indexes.append(socket.if_nametoindex(interface.target_dev or ""))
    return indexes


async def _spawn_held(start: StartContext, command: Spawning) -> HeldProcess:
    """Spawn what becomes QEMU, with a /dev of its own where the kernel allows it."""

    def spawn_it() -> HeldProcess:
        return spawn_held(command) if start.cgroup.exists else HeldProcess(spawn(command))

    if not start.has_private_dev:
        return spawn_it()
    user = start.user if start.manages_owners else None
    spawned = spawn_private(start.domain, start.context.config, user, spawn_it)
    if spawned is not None:
        held, start.status.private_dev = spawned
        return held
    start.has_private_dev = False
    if user is not None:
        nodes = inside_dev(domain_files(start.domain))
        start.status.owners += await chown_for_guest(nodes, user, start.context.previous_owners)
        start.write_status()
    return spawn_it()


async def kill(process: GuestProcess) -> None:
    """Kill a QEMU whose start failed: its vCPUs never ran, so no cache needs to be written."""
    process.send_signal(signal.SIGKILL)
    if not await process.wait_exit(KILL_S):
        log.error("QEMU process %d does not end by SIGKILL", process.pid)
