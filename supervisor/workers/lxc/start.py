"""Launching a container: from its document to a first process that runs.

Owns: the order of a start, and undoing it. May touch: the container's folder and process, what its
document names. May not touch: definitions, other containers.

The status document is written before anything else. If this worker dies on the way, its successor
finds a status without a process number, ends what was begun, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import Start
from supervisor.objects.domain_status_xml import Status, remove_status, write_status
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.pidfd import GuestProcess
from supervisor.workers.context import WorkerContext
from supervisor.workers.guest_log import GuestLog
from supervisor.workers.interfaces import detach_port
from supervisor.workers.lxc import cgroups, checks, interfaces, start_barrier, usb
from supervisor.workers.lxc.commands import run
from supervisor.workers.lxc.config import Card, Facts, plan_config
from supervisor.workers.lxc.config.plan import plan_init
from supervisor.workers.lxc.container import Container, Held, folder_of, keep_held
from supervisor.workers.lxc.device_nodes import make_all, root_of_map
from supervisor.workers.lxc.filesystem_mounts import mount_all, remove_folder
from supervisor.workers.lxc.host_netdevs import note
from supervisor.workers.lxc.liblxc import ENVIRONMENT, explain, init_pid, start_command
from supervisor.workers.lxc.stop import REBOOTED, end_begun, give_back_mounts, kill_all
from supervisor.workers.running_guest import new_status, record_process
from supervisor.workers.state_table import PAUSED_AT_START, RUNNING

START_S: Final = 40.0


@dataclass(slots=True)
class Attempt:
    """A start on its way: what it has so far."""

    workplace: WorkerContext
    request: Start
    domain: Domain
    status: Status
    folder: Path
    held: Held
    log: GuestLog
    undo: AsyncExitStack
    files: frozenset[str] = frozenset()
    numbers: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)
    mounted: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    cards: dict[int, Card] = field(default_factory=dict)
    init_pid: int = 0  # of its init, or of who is to be it
    container: Container | None = None

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name

    def xml(self) -> str:
        """The document as it stands, for hooks and the status."""
        return format_domain(self.domain, live=True, secure=True)


Step = Callable[[Attempt], Awaitable[None]]


async def launch(
    workplace: WorkerContext,
    request: Start,
    steps: Sequence[Step] | None = None,
    *,
    again: bool = False,
) -> Container:
    """Start a container; whatever fails, nothing is left of it.

    Args:
        workplace: the worker's.
        request: what is to be started.
        steps: other steps than those of every start.
        again: it ran before: if this process dies on the way, the domain is to be started anew.

    Raises:
        ConfError, VirError: it cannot be started.
    """
    domain = parse_domain(request.xml)
    domain.id = request.id
    assign_aliases(domain)
    partition = domain.partition or ""
    group = cgroups.group_name(domain.uuid or "", domain.name, partition)
    status = new_status(domain, request.id, request.autodestroy)
    status.restart = again
    async with AsyncExitStack() as undo:
        log = undo.enter_context(GuestLog(workplace.paths.guest_log(domain.name)))
        attempt = Attempt(
            workplace=workplace,
            request=request,
            domain=domain,
            status=status,
            folder=folder_of(workplace.paths, domain.name),
            held=Held(group=group),
            log=log,
            undo=undo,
        )
        for step in STEPS if steps is None else steps:
            await step(attempt)
        assert attempt.container is not None, "the steps of a start make it"
        undo.pop_all().push(log.__exit__)
        log.__exit__(None, None, None)
    return attempt.container


async def look(attempt: Attempt) -> None:
    """See that all is there that the document names."""
    domain, states = attempt.domain, attempt.workplace.paths.status_dir()
    await usb.look_up(domain)
    attempt.files = checks.check_sources(domain)
    attempt.numbers = checks.device_numbers(domain)
    attempt.namespaces = await checks.shared_namespaces(domain, states)
    attempt.figures = await checks.served_figures(attempt.workplace.paths.lxcfs())


async def prepare(attempt: Attempt) -> None:
    """Give the container its folder, and note that it is on its way."""
    workplace, paths = attempt.workplace, attempt.workplace.paths
    attempt.undo.push_async_callback(_hook_after, attempt, "release")
    await _hook(attempt, "prepare")
    attempt.undo.push_async_callback(remove_folder, attempt.folder)
    await remove_folder(attempt.folder)
    attempt.folder.mkdir(parents=True, mode=0o700)
    os.chown(attempt.folder, -1, root_of_map(attempt.domain)[1])
    attempt.folder.chmod(0o710)  # what is mounted there is its root's, and of no other user here
    keep_held(attempt.folder, attempt.held)
    attempt.undo.callback(remove_status, paths.status(attempt.name))
    write_status(workplace.paths.status(attempt.name), attempt.status, attempt.xml())


async def mount(attempt: Attempt) -> None:
    """Mount the file systems that are in images, and make devices' nodes."""
    attempt.undo.push_async_callback(give_back_mounts, attempt.held)
    attempt.mounted = await mount_all(attempt.domain, attempt.folder, attempt.held)
    attempt.nodes = await make_all(attempt.domain, attempt.folder, attempt.held)


async def plug(attempt: Attempt) -> None:
    """Have the container's cards made."""
    if attempt.domain.devices.interfaces:
        attempt.undo.push_async_callback(detach_port, attempt.workplace, attempt.status.uuid)
        attempt.cards = await interfaces.plug_all(attempt.workplace, attempt.domain)
        path = attempt.workplace.paths.status(attempt.name)
        write_status(path, attempt.status, attempt.xml())


async def describe(attempt: Attempt) -> None:
    """Write the configuration that liblxc's tool reads."""
    domain, layout = attempt.domain, cgroups.layout()
    user, group = checks.identity(domain, attempt.mounted.get("/", ""))
    facts = Facts(
        group=attempt.held.group,
        legacy=layout.legacy,
        max_tasks=checks.max_tasks(),
        cards=attempt.cards,
        mounted=attempt.mounted,
        nodes=attempt.nodes,
        files=attempt.files,
        numbers=attempt.numbers,
        namespaces=attempt.namespaces,
        figures=attempt.figures,
        user=user,
        group_id=group,
        seccomp=checks.seccomp_profile(),
        apparmor=checks.apparmor_profile(),
        gate=str(start_barrier.path_of(attempt.folder)) if attempt.request.paused else "",
        rebooted=str(attempt.folder / REBOOTED),
    )
    write_file(attempt.folder / "config", plan_config(domain, facts).encode(), durable=False)


async def start(attempt: Attempt) -> None:
    """Have liblxc start it."""
    workplace, status, folder = attempt.workplace, attempt.status, attempt.folder
    await _hook(attempt, "start")
    attempt.undo.push_async_callback(end_begun, folder, attempt.held)
    await kill_all(folder, attempt.held)  # what a host that lost our files has left
    cgroups.prepare(attempt.held.group)
    log_path = workplace.paths.guest_log(attempt.name)
    command = start_command(folder, log_path, plan_init(attempt.domain))
    attempt.log.log_start(command, {}, "5", "lxc")
    try:
        await _run_engine(attempt, command)
    except VirError as error:
        detail = f"guest failed to start: {explain(attempt.log.error_output() or error.detail)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error
    monitor = int((folder / "pid").read_text())
    process = GuestProcess.open_child(monitor)
    container = Container(workplace, attempt.domain, status, process)
    attempt.undo.callback(container.close)
    container.group = attempt.held.group
    container.gated = attempt.request.paused
    if not container.gated:
        await _find_init(attempt, container)
    record_process(status, process.identity)
    status.id = attempt.domain.id = process.pid  # stock virsh finds the cgroup by that number
    attempt.container = container


async def _run_engine(attempt: Attempt, command: list[str]) -> None:
    """Have liblxc's tool start it, up to its gate if it is to stand still.

    Raises:
        VirError: INTERNAL_ERROR: it fails.
    """
    if attempt.request.paused:
        attempt.init_pid = await start_barrier.start(attempt.folder, command, attempt.log, START_S)
        return
    code, words = await run(command, START_S, ENVIRONMENT)
    if code != 0:
        raise VirError(ErrorCode.INTERNAL_ERROR, words, ErrorDomain.LXC)


async def _find_init(attempt: Attempt, container: Container) -> None:
    try:
        attempt.init_pid = await init_pid(attempt.folder)
        container.begin(attempt.init_pid)
    except (VirError, ProcessLookupError) as error:
        detail = f"guest failed to start: init ended at once: {attempt.log.error_output()}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC) from error


async def settle(attempt: Attempt) -> None:
    """Do what liblxc cannot, and let it run or not."""
    container, paths = attempt.container, attempt.workplace.paths
    assert container is not None, "it has been started"
    for place, card in attempt.cards.items():
        for command in interfaces.route_commands(
            card.name, attempt.domain.devices.interfaces[place].routes
        ):
            await interfaces.run_inside(attempt.init_pid, command)
    lent = [one.source.interface for one in attempt.domain.devices.hostdevs if one.type == "net"]
    if lent:
        names = [name for name in lent if name]
        await note(attempt.folder, attempt.held, attempt.init_pid, names)
    state = PAUSED_AT_START if attempt.request.paused else RUNNING
    container.status.state, container.status.reason = state.state, state.reason
    container.status.restart = False
    pid_file = paths.pid_file(attempt.name)
    attempt.undo.callback(pid_file.unlink, missing_ok=True)
    pid_file.write_text(f"{container.process.pid}")
    await _hook(attempt, "started")
    container.update_xml()


STEPS: Final[tuple[Step, ...]] = (look, prepare, mount, plug, describe, start, settle)


def assign_aliases(domain: Domain) -> None:
    """Name the devices, as clients name them."""
    devices = domain.devices
    for number, console in enumerate(devices.consoles):
        console.alias = console.alias or f"console{number}"
    for number, interface in enumerate(devices.interfaces):
        interface.alias = interface.alias or f"net{number}"
    for number, filesystem in enumerate(devices.filesystems):
        filesystem.alias = filesystem.alias or f"fs{number}"
    for number, hostdev in enumerate(devices.hostdevs):
        hostdev.alias = hostdev.alias or f"hostdev{number}"


async def _hook(attempt: Attempt, operation: str) -> None:
    await attempt.workplace.hooks.run(attempt.name, operation, attempt.xml())


async def _hook_after(attempt: Attempt, operation: str) -> None:
    await attempt.workplace.hooks.notify(attempt.name, operation, attempt.xml())
