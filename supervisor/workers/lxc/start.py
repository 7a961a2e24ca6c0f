"""Start a container: from its XML to a running init.

Owns: the order of a start, and undoing it. May touch: the container's folder and process, what its
XML names. May not touch: definitions, other containers.

The status file is written before anything else. If this worker dies during the start, the next one
finds a status without a pid, removes what was made, and reports the domain as failed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.lxc.startable import check_startable
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import Start
from supervisor.objects import device_lock
from supervisor.objects.domain_status_xml import Status, remove_status, write_status
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.system_bus import has_systemd
from supervisor.workers import usb_devices
from supervisor.workers.cgroups import containers, scopes
from supervisor.workers.cgroups.group import Group, kept_weights
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.cgroups.limits import has_bfq
from supervisor.workers.cgroups.scope_names import machine_name, machine_scope
from supervisor.workers.cgroups.scopes import Scope, waiting_process
from supervisor.workers.context import WorkerContext
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.interfaces import detach_port
from supervisor.workers.lxc import checks, interfaces, start_barrier
from supervisor.workers.lxc.commands import run_program
from supervisor.workers.lxc.config import HostFacts, LxcInterface, plan_config
from supervisor.workers.lxc.config.plan import plan_init
from supervisor.workers.lxc.container import (
    Container,
    ContainerResources,
    container_folder,
    save_resources,
)
from supervisor.workers.lxc.device_nodes import make_all, mapped_root
from supervisor.workers.lxc.filesystem_mounts import mount_all, remove_folder
from supervisor.workers.lxc.host_netdevs import record_devices
from supervisor.workers.lxc.inherited_files import run_with_files
from supervisor.workers.lxc.liblxc import ENVIRONMENT, error_cause, init_pid, start_command
from supervisor.workers.lxc.stop import (
    REBOOT_MARK,
    abort_start,
    end_scope,
    kill_processes,
    unmount_all,
)
from supervisor.workers.lxc.tuning import limits_of
from supervisor.workers.running_guest import new_status, record_process
from supervisor.workers.state_table import PAUSED_AT_START, RUNNING

START_S: Final = 40.0
SYSTEM: Final = "/run/libvirt/"  # the state of the host's own daemon
CONTAINER: Final = ("lxc", "container")  # driver, and class of machine


@dataclass(slots=True)
class StartContext:
    """A start in progress: what its steps have gathered."""

    context: WorkerContext
    request: Start
    domain: Domain
    status: Status
    folder: Path
    resources: ContainerResources
    log: GuestLog
    undo: AsyncExitStack
    files: frozenset[str] = frozenset()
    device_numbers: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    lxcfs: dict[str, str] = field(default_factory=dict)
    mount_points: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    interfaces: dict[int, LxcInterface] = field(default_factory=dict)
    scope: Scope | None = None  # of systemd's, that the group is in
    init_pid: int = 0  # of init, or of the process that will execute it
    container: Container | None = None

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name

    def xml(self) -> str:
        """Format the present live XML, for hooks and the status file."""
        return format_domain(self.domain, live=True, secure=True)


Step = Callable[[StartContext], Awaitable[None]]


async def launch(
    context: WorkerContext,
    request: Start,
    steps: Sequence[Step] | None = None,
    *,
    restarted: bool = False,
) -> Container:
    """Start a container; if a step fails, the steps before it are undone.

    Args:
        context: the worker's.
        request: the XML and the id.
        steps: replace `STEPS`, for tests.
        restarted: the container ran before: if this worker dies now, domd starts the domain.

    Raises:
        ConfError, VirError: it cannot be started.
    """
    domain = parse_domain(request.xml)
    check_startable(domain)
    domain.id = request.id
    assign_aliases(domain)
    partition = domain.partition or ""
    group = containers.group_name(domain.uuid or "", domain.name, partition)
    status = new_status(domain, request.id, request.autodestroy)
    status.restart = restarted
    async with AsyncExitStack() as undo:
        log = undo.enter_context(GuestLog(context.paths.guest_log(domain.name)))
        start = StartContext(
            context=context,
            request=request,
            domain=domain,
            status=status,
            folder=container_folder(context.paths, domain.name),
            resources=ContainerResources(group=group),
            log=log,
            undo=undo,
        )
        for step in STEPS if steps is None else steps:
            await step(start)
        assert start.container is not None, "the steps of a start make it"
        undo.pop_all().push(log.__exit__)
        log.__exit__(None, None, None)
    return start.container


async def inspect_host(start: StartContext) -> None:
    """Check that the host has what the XML names, and gather facts for the configuration."""
    domain, states = start.domain, start.context.paths.status_dir()
    await usb_devices.resolve_addresses(domain)
    start.files = checks.check_sources(domain)
    start.device_numbers = checks.device_numbers(domain)
    start.namespaces = await checks.shared_namespaces(domain, states)
    start.lxcfs = await checks.lxcfs_files(start.context.paths.lxcfs())


async def prepare_folder(start: StartContext) -> None:
    """Make the container's folder and its status file, and run the "prepare" hook."""
    context, paths = start.context, start.context.paths
    start.undo.push_async_callback(_hook_after, start, "release")
    await _hook(start, "prepare")
    start.undo.push_async_callback(remove_folder, start.folder)
    await remove_folder(start.folder)
    start.folder.mkdir(parents=True, mode=0o700)
    os.chown(start.folder, -1, mapped_root(start.domain)[1])
    start.folder.chmod(0o710)  # mounts in it are for the container's root group only
    save_resources(start.folder, start.resources)
    start.undo.callback(remove_status, paths.status(start.name))
    async with device_lock.exclusive(paths, start.name, start.domain.devices.hostdevs):
        write_status(context.paths.status(start.name), start.status, start.xml())


async def enter_scope(start: StartContext) -> None:
    """Have systemd make the scope that the container's groups are in, where systemd runs."""
    folder, domain = str(start.folder), start.domain
    if not (folder.startswith(SYSTEM) and has_systemd()):
        return
    waiting = waiting_process()
    partition = domain.partition or ""
    machine = machine_scope(*CONTAINER, start.name, waiting.pid, domain.uuid or "", partition)
    start.scope = Scope(machine, layout(), waiting)
    start.undo.push_async_callback(start.scope.release)
    start.resources.group = start.scope.group
    save_resources(start.folder, start.resources)
    start.undo.push_async_callback(end_scope, start.resources)
    await start.scope.make()
    start.resources.group = start.scope.group
    save_resources(start.folder, start.resources)


async def register_machine(start: StartContext) -> None:
    """Tell systemd of the scope's weights, and machined of the container that is in it."""
    scope, container = start.scope, start.container
    if scope is None or container is None:
        return
    await scope.release()
    limits = limits_of(container.cgroup, start.domain)
    await scopes.set_weights(scope.machine.unit, kept_weights(limits))
    name = machine_name(CONTAINER[0], start.name, start.status.id)
    indexes = [socket.if_nametoindex(each) for each in host_ends(start.domain)]
    await scopes.register(replace(scope.machine, machine=name), start.init_pid, indexes)


def host_ends(domain: Domain) -> Iterator[str]:
    """List the container's network devices that are on the host now."""
    there = {name for _, name in socket.if_nameindex()}
    for interface in domain.devices.interfaces:
        if interface.target_dev in there:
            yield interface.target_dev or ""


async def mount_filesystems(start: StartContext) -> None:
    """Mount images and read-only directories, and make device nodes."""
    start.undo.push_async_callback(unmount_all, start.resources)
    start.mount_points = await mount_all(start.domain, start.folder, start.resources)
    start.nodes = await make_all(start.domain, start.folder, start.resources)


async def attach_interfaces(start: StartContext) -> None:
    """Have netd make the container's interfaces."""
    if start.domain.devices.interfaces:
        start.undo.push_async_callback(detach_port, start.context, start.status.uuid)
        start.interfaces = await interfaces.attach_all(start.context, start.domain)
        path = start.context.paths.status(start.name)
        write_status(path, start.status, start.xml())


async def write_config(start: StartContext) -> None:
    """Write the configuration file of lxc-start."""
    domain, hierarchies = start.domain, layout()
    user, group = checks.init_ids(domain, start.mount_points.get("/", ""))
    facts = HostFacts(
        group=start.resources.group,
        v1_controllers=hierarchies.v1_controllers,
        bfq=has_bfq(Group(hierarchies, start.resources.group)),
        max_tasks=checks.max_tasks(),
        interfaces=start.interfaces,
        mount_points=start.mount_points,
        nodes=start.nodes,
        files=start.files,
        device_numbers=start.device_numbers,
        namespaces=start.namespaces,
        lxcfs=start.lxcfs,
        user=user,
        group_id=group,
        seccomp=checks.seccomp_profile(),
        apparmor=checks.apparmor_profile(),
        barrier=str(start_barrier.barrier_path(start.folder)) if start.request.paused else "",
        reboot_mark=str(start.folder / REBOOT_MARK),
    )
    write_file(start.folder / "config", plan_config(domain, facts).encode(), durable=False)


async def start_container(start: StartContext) -> None:
    """Run lxc-start, and find the monitor and init."""
    context, status, folder = start.context, start.status, start.folder
    await _hook(start, "start")
    start.undo.push_async_callback(abort_start, folder, start.resources)
    await kill_processes(folder, start.resources)  # of a container whose folder was lost
    containers.enable_parents(start.resources.group)
    log_path = context.paths.guest_log(start.name)
    command = start_command(folder, log_path, plan_init(start.domain))
    start.log.log_start(command, {}, "5", "lxc")
    try:
        await _run_lxc_start(start, command)
    except VirError as error:
        detail = f"guest failed to start: {error_cause(start.log.error_output() or error.detail)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    monitor = int((folder / "pid").read_text())
    process = GuestProcess.open_child(monitor)
    container = Container(context, start.domain, status, process)
    start.undo.callback(container.close)
    container.group = start.resources.group
    container.at_barrier = start.request.paused
    if not container.at_barrier:
        await _find_init(start, container)
    record_process(status, process.identity)
    status.id = start.domain.id = process.pid  # stock virsh finds the cgroup by that number
    start.container = container


async def _run_lxc_start(start: StartContext, command: list[str]) -> None:
    """Run lxc-start, which returns at the start barrier or when init is executed.

    Raises:
        VirError: INTERNAL_ERROR: it fails.
    """
    if start.request.paused:
        start.init_pid = await start_barrier.start_to_barrier(
            start.folder, command, start.log, START_S
        )
        return
    if start.request.files:
        await _run_with_files(start, command)
        return
    code, output = await run_program(command, START_S, ENVIRONMENT)
    if code != 0:
        raise VirError(ErrorCode.INTERNAL_ERROR, output, ErrorDomain.LXC)


async def _run_with_files(start: StartContext, command: list[str]) -> None:
    """Run lxc-start with what a client gives to init, and close this process's copies.

    Raises:
        VirError: INTERNAL_ERROR: it fails.
    """
    try:
        files = [descriptor.fileno() for descriptor in start.request.files]
        code = await run_with_files(command, files, start.log.fileno(), START_S)
    except OSError as error:
        detail = f"{command[0]}: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    finally:
        for descriptor in start.request.files:
            descriptor.close()
    if code != 0:
        detail = f"lxc-start ended with exit status {code}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)


async def _find_init(start: StartContext, container: Container) -> None:
    try:
        start.init_pid = await init_pid(start.folder)
        container.attach_init(start.init_pid)
    except (VirError, ProcessLookupError) as error:
        detail = f"guest failed to start: init exited at once: {start.log.error_output()}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error


async def finish_start(start: StartContext) -> None:
    """Set what liblxc cannot: routes, and the record of host devices; then set the state."""
    container, paths = start.container, start.context.paths
    assert container is not None, "it has been started"
    for place, netdev in start.interfaces.items():
        for command in interfaces.route_commands(
            netdev.name, start.domain.devices.interfaces[place].routes
        ):
            await interfaces.nsenter(start.init_pid, command)
    hostdevs = start.domain.devices.hostdevs
    netdevs = [hostdev.source.interface for hostdev in hostdevs if hostdev.type == "net"]
    if netdevs:
        names = [name for name in netdevs if name]
        await record_devices(start.folder, start.resources, start.init_pid, names)
    state = PAUSED_AT_START if start.request.paused else RUNNING
    container.status.state, container.status.reason = state.state, state.reason
    container.status.restart = False
    pid_file = paths.pid_file(start.name)
    start.undo.callback(pid_file.unlink, missing_ok=True)
    pid_file.write_text(f"{container.process.pid}")
    await _hook(start, "started")
    container.update_xml()


STEPS: Final[tuple[Step, ...]] = (
    inspect_host,
    prepare_folder,
    enter_scope,
    mount_filesystems,
    attach_interfaces,
    write_config,
    start_container,
    register_machine,
    finish_start,
)


def assign_aliases(domain: Domain) -> None:
    """Set the devices' aliases, by which clients name them."""
    devices = domain.devices
    for number, console in enumerate(devices.consoles):
        console.alias = console.alias or f"console{number}"
    for number, interface in enumerate(devices.interfaces):
        interface.alias = interface.alias or f"net{number}"
    for number, filesystem in enumerate(devices.filesystems):
        filesystem.alias = filesystem.alias or f"fs{number}"
    for number, hostdev in enumerate(devices.hostdevs):
        hostdev.alias = hostdev.alias or f"hostdev{number}"


async def _hook(start: StartContext, operation: str) -> None:
    await start.context.hooks.run(start.name, operation, start.xml())


async def _hook_after(start: StartContext, operation: str) -> None:
    await start.context.hooks.notify(start.name, operation, start.xml())
