"""Scopes of guests: units that systemd makes, keeps and shows, and machined's list of machines.

Owns: what systemd and systemd-machined are asked, and the process that a scope begins with.
May touch: the system's D-Bus; the scope's directory. May not touch: other units.

A scope begins with a process that only waits. So the guest's group is there, with all controllers,
before the guest is; and it vanishes with that process if this worker dies before. systemd delegates
what is below a scope: it writes there to nothing.
Source: org.freedesktop.systemd1(5), org.freedesktop.machine1(5), systemd's CGROUP_DELEGATION.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from jeepney import DBusErrorResponse, new_method_call
from jeepney.bus_messages import MatchRule, message_bus
from jeepney.low_level import HeaderFields

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.pidfd import GuestProcess
from supervisor.runtime.system_bus import MACHINE1, MACHINED, MANAGER, SYSTEMD, system_bus
from supervisor.workers.cgroups.group import Limit, enable_controllers, kept_weights
from supervisor.workers.cgroups.hierarchies import UNIFIED, Layout
from supervisor.workers.cgroups.scope_names import INNER, MachineScope

NO_UNIT: Final = f"{SYSTEMD}.NoSuchUnit"
ABSENT: Final = ("org.freedesktop.DBus.Error.ServiceUnknown", NO_UNIT, f"{SYSTEMD}.UnitMasked")
KNOWN: Final = f"{MACHINE1}.MachineExists"
START_S: Final = 20.0  # systemd is slow while many units start
CHANGE_S: Final = 5.0
STOP_S: Final = 2.0
WAIT_S: Final = 2.0
TASKS: Final = 16384  # of a machine, as machined's
SIGNALS: Final = 4096  # of other jobs, before ours
WAITING: Final = "start"  # the group of the process that waits: version 2 wants the scope empty

log = logging.getLogger(__name__)


class Scope:
    """A scope from before its guest's start until the guest is in it."""

    def __init__(
        self, machine: MachineScope, layout: Layout, waiting: GuestProcess | None = None
    ) -> None:
        """Describe it; nothing is done yet.

        Args:
            machine: its names.
            layout: the host's hierarchies.
            waiting: the process that it begins with; None: `make` starts one.
        """
        self.machine = machine
        self.group = machine.group  # the guest's, below each hierarchy's root
        self._layout = layout
        self._waiting = waiting

    async def make(self) -> None:
        """Have systemd make it, with a process that waits in it until `release`.

        Raises:
            VirError: DBUS_SERVICE: systemd refuses; OPERATION_TIMEOUT: it does not answer.
        """
        self._waiting = self._waiting or waiting_process()
        try:
            await start_unit(self.machine, self._waiting.pid)
            self._move_aside()
        except BaseException:
            await self.release()
            raise

    def _move_aside(self) -> None:
        """Look up where the scope is, and empty it: only then version 2 has controllers below it.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        assert self._waiting is not None, "it has been made"
        try:
            groups = Path(f"/proc/{self._waiting.pid}/cgroup").read_text()
            folder = find_scope(groups, self.machine.unit)
            self.group = f"{folder}/{INNER}"
            root = self._layout.hierarchies.get(UNIFIED)
            if root is not None and (root / folder).is_dir():
                aside = root / folder / WAITING
                aside.mkdir(exist_ok=True)
                (aside / "cgroup.procs").write_text(str(self._waiting.pid))
                enable_controllers(root / folder)
        except OSError as error:
            detail = f"the scope {self.machine.unit} of systemd cannot be used: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error

    async def release(self) -> None:
        """End the process that waits; a scope without a guest vanishes with it."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        waiting.send_signal(signal.SIGKILL)
        await waiting.wait_exit(WAIT_S)
        root = self._layout.hierarchies.get(UNIFIED)
        if root is not None:
            with contextlib.suppress(OSError):
                os.rmdir((root / self.group).parent / WAITING)


def waiting_process() -> GuestProcess:
    """Start a process that waits, and exits with this one: its input is a pipe of ours."""
    waiting, end = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            ("/bin/cat",),
            stdin=waiting,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError:
        os.close(end)
        raise
    finally:
        os.close(waiting)
    process.returncode = 0  # its exit is seen by a pidfd, not by this object
    watched = GuestProcess.open_child(process.pid)
    watched.on_exit.append(lambda: os.close(end))
    return watched


def find_scope(groups: str, unit: str) -> str:
    """Read /proc/PID/cgroup (cgroups(7)): where a scope is below a hierarchy's root. Pure.

    Raises:
        OSError: the process is not in it.
    """
    for line in groups.splitlines():
        path = line.split(":", 2)[-1].strip("/")
        if path.endswith(f"/{unit}"):
            return path
    raise OSError(0, "no process is in it")


async def start_unit(scope: MachineScope, pid: int) -> None:
    """Have systemd make a scope around a process, and wait until it is there.

    Raises:
        VirError: DBUS_SERVICE: systemd refuses; OPERATION_TIMEOUT: it does not answer.
    """
    properties = [
        ("Description", ("s", scope.description)),
        ("Slice", ("s", scope.slice)),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),
        ("TasksMax", ("t", TASKS)),
        # At the host's end guests are saved first, and only then ended.
        ("Before", ("as", ["libvirt-guests.service", "virt-guest-shutdown.target"])),
    ]
    body: tuple[object, ...] = (scope.unit, "fail", properties, [])
    removed = {"type": "signal", "interface": MANAGER.interface, "member": "JobRemoved"}
    async with system_bus(f"start the scope {scope.unit}", START_S) as bus:
        await bus.call(message_bus.AddMatch(MatchRule(sender=SYSTEMD, **removed)))
        await bus.call(new_method_call(MANAGER, "Subscribe"))
        with bus.router.filter(MatchRule(**removed), bufsize=SIGNALS) as signals:
            reply = await bus.call(
                new_method_call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
            )
            systemd = reply.header.fields.get(HeaderFields.sender)
            result = ""
            while not result:
                message = await signals.get()
                if message.header.fields.get(HeaderFields.sender) == systemd:
                    result = _result(message.body, reply.body[0])
    if result != "done":
        detail = f"systemd could not start the scope {scope.unit}: {result}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.SYSTEMD)


def _result(signalled: Sequence[object], job: object) -> str:
    """Read the result of a job from a signal JobRemoved; "": it is another job's."""
    if len(signalled) != 4 or signalled[1] != job:
        return ""
    return str(signalled[3]) or "no result"


async def register(scope: MachineScope, leader: int, interfaces: Iterable[int] = ()) -> None:
    """Have machined list a guest, which is in its scope; a host without machined lists none.

    Args:
        scope: the guest's.
        leader: the pid of QEMU, or of a container's init.
        interfaces: indexes of the guest's network devices on the host.

    Raises:
        VirError: DBUS_SERVICE: it refuses; OPERATION_TIMEOUT: it does not answer.
    """
    identity = uuid.UUID(scope.uuid).bytes
    who = (scope.machine, identity, scope.service, scope.kind, leader, "", [*interfaces])
    message = new_method_call(MACHINED, "RegisterMachineWithNetwork", "sayssusai", who)
    async with system_bus(f"register the machine {scope.machine}", START_S) as bus:
        try:
            await bus.call(message)
        except DBusErrorResponse as error:
            if error.name not in ABSENT:
                raise
            log.debug("%s is in no list of machines: systemd-machined is missing", scope.machine)


async def keep_registered(scope: MachineScope, leader: int) -> None:
    """Register a running guest that machined may not know; a failure is logged.

    machined may have been installed since the guest's start: libvirt's daemon ends a guest that a
    machined does not know.
    """
    try:
        await register(scope, leader)
    except VirError as error:
        cause = error.__cause__
        if not (isinstance(cause, DBusErrorResponse) and cause.name == KNOWN):
            log.warning("%s is not in machined's list: %s", scope.machine, error)


async def change_weights(
    unit: str, before: Iterable[Limit], after: Iterable[Limit]
) -> list[tuple[str, int]]:
    """Tell systemd of the weights among a guest's limits that change; "": it has no scope.

    Returns:
        The former ones, for `set_weights` if the kernel refuses the change.

    Raises:
        VirError: as `set_weights`.
    """
    former, new = kept_weights(before), kept_weights(after)
    changed = [each for each in new if each not in former] if unit else []
    await set_weights(unit, changed)
    names = {name for name, _ in changed}
    return [each for each in former if each[0] in names]


async def set_weights(unit: str, weights: Iterable[tuple[str, int]]) -> None:
    """Tell systemd of a scope's weights, which it would otherwise set back one day.

    Args:
        unit: the scope.
        weights: properties (`scope_names.weight_property`) and values.

    Raises:
        VirError: DBUS_SERVICE: it refuses; OPERATION_TIMEOUT: it does not answer.
    """
    properties = [(name, ("t", value)) for name, value in weights]
    if not properties:
        return
    message = new_method_call(MANAGER, "SetUnitProperties", "sba(sv)", (unit, True, properties))
    async with system_bus(f"set the weight of {unit}", CHANGE_S) as bus:
        await bus.call(message)


async def stop_unit(unit: str) -> None:
    """Have systemd end a scope whose guest has ended, if it has not seen that; errors are logged.

    Without an answer it sees by itself that the scope is empty.
    """
    try:
        async with system_bus(f"stop {unit}", STOP_S) as bus:
            await bus.call(new_method_call(MANAGER, "StopUnit", "ss", (unit, "replace")))
    except VirError as error:
        cause = error.__cause__
        if not (isinstance(cause, DBusErrorResponse) and cause.name == NO_UNIT):
            log.warning("%s", error)
