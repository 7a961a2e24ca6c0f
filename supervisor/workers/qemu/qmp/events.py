"""What the emulator tells unasked, and what becomes of it.

Owns: the table of QMP events. May touch: the guest's state; clients, by events.
Source: QEMU's QMP reference; libvirt 9.0's events for each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from rpc.enums import (
    ConnectDomainEventAgentLifecycleReason,
    ConnectDomainEventAgentLifecycleState,
    DomainEventGraphicsPhase,
    DomainEventID,
    DomainEventIOErrorAction,
    DomainEventTrayChangeReason,
    DomainEventWatchdogAction,
    DomainShutoffReason,
    DomainState,
)
from supervisor.dispatch.dispatcher import encode_event
from supervisor.workers import lifecycle_actions
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import deleted
from supervisor.workers.qemu.lifecycle.policy import fake_reboot, react
from supervisor.workers.qemu.qmp.protocol import Message
from supervisor.workers.qemu.start.live_xml import AGENT
from supervisor.workers.state_table import Trigger

KIB: Final = 1024
MAX_DETAILS: Final = 1 << 20  # bytes of an event that clients are told
T = TypeVar("T")

log = logging.getLogger(__name__)


class Shutdown(msgspec.Struct, frozen=True):
    """SHUTDOWN."""

    guest: bool = False
    reason: str = ""


class Action(msgspec.Struct, frozen=True):
    """WATCHDOG, GUEST_PANICKED."""

    action: str = ""


class IoError(msgspec.Struct, frozen=True, rename="kebab"):
    """BLOCK_IO_ERROR."""

    device: str = ""
    qom_path: str = msgspec.field(default="", name="qom-path")
    node_name: str = ""
    operation: str = ""
    action: str = ""
    nospace: bool = False
    reason: str = ""


class Offset(msgspec.Struct, frozen=True):
    """RTC_CHANGE."""

    offset: int = 0


class Actual(msgspec.Struct, frozen=True):
    """BALLOON_CHANGE."""

    actual: int = 0


class Device(msgspec.Struct, frozen=True):
    """DEVICE_DELETED."""

    device: str = ""
    path: str = ""


class Tray(msgspec.Struct, frozen=True, rename="kebab"):
    """DEVICE_TRAY_MOVED."""

    id: str = ""
    device: str = ""
    tray_open: bool = False


class Port(msgspec.Struct, frozen=True):
    """VSERPORT_CHANGE."""

    id: str = ""
    open: bool = False


class End(msgspec.Struct, frozen=True):
    """One end of a viewer's connection."""

    host: str = ""
    service: str = ""
    port: str = ""
    family: str = ""
    auth: str = ""
    sasl_username: str = ""
    x509_dname: str = ""


class Viewer(msgspec.Struct, frozen=True):
    """VNC_…, SPICE_…."""

    server: End = End()
    client: End = End()


WATCHDOG_ACTIONS: Final = {
    "none": DomainEventWatchdogAction.NONE,
    "pause": DomainEventWatchdogAction.PAUSE,
    "reset": DomainEventWatchdogAction.RESET,
    "poweroff": DomainEventWatchdogAction.POWEROFF,
    "shutdown": DomainEventWatchdogAction.SHUTDOWN,
    "debug": DomainEventWatchdogAction.DEBUG,
    "inject-nmi": DomainEventWatchdogAction.INJECTNMI,
}
IO_ACTIONS: Final = {
    "ignore": DomainEventIOErrorAction.NONE,
    "stop": DomainEventIOErrorAction.PAUSE,
    "report": DomainEventIOErrorAction.REPORT,
}
FAMILIES: Final = {"ipv4": 0, "ipv6": 1, "unix": 2}


def take(guest: Guest, message: Message) -> None:
    """Take an event; one that cannot be understood is logged and changes nothing."""
    name = message.event or ""
    relay(guest, message)
    handler = HANDLERS.get(name)
    if handler is None:
        return
    try:
        handler(guest, message)
    except msgspec.MsgspecError as error:
        log.warning("%s: event %s cannot be understood: %s", guest.name, name, error)


def relay(guest: Guest, message: Message) -> None:
    """Pass the event itself on to clients that registered for the monitor's events."""
    details = bytes(message.data).decode(errors="replace") if message.data is not None else None
    if details is not None and len(details) > MAX_DETAILS:
        details = None
    stamp, name = message.timestamp, message.event or ""
    fields = (guest.identity, name, stamp.seconds, stamp.microseconds, details)
    payload = encode_event("domain_monitor_event", *fields)
    guest.context.relay("qemu_monitor", -1, guest.uuid, payload, name)


def _data(message: Message, kind: type[T]) -> T:
    return msgspec.json.decode(message.data or b"{}", type=kind)


def _shutdown(guest: Guest, message: Message) -> None:
    if guest.status.ending:
        return
    data = _data(message, Shutdown)
    by_host = data.reason in ("host-signal", "host-qmp-quit") or (
        not data.guest and data.reason in ("", "host-error")
    )
    if guest.transition(Trigger.ENDED_BY_HOST if by_host else Trigger.POWERED_OFF) is None:
        return
    if by_host:
        return  # its process ends by itself
    off = DomainShutoffReason.SHUTDOWN
    if guest.status.fake_reboot:
        guest.run(fake_reboot(guest))
    elif data.reason == "guest-reset":
        guest.run(react(guest, lifecycle_actions.on_reboot(guest.domain), off))
    else:
        guest.run(react(guest, lifecycle_actions.on_poweroff(guest.domain), off))


def _stop(guest: Guest, _: Message) -> None:
    cause, guest.stop_cause = guest.stop_cause, Trigger.STOPPED
    guest.transition(cause)


def _resume(guest: Guest, _: Message) -> None:
    cause, guest.resume_cause = guest.resume_cause, Trigger.RESUMED
    guest.transition(cause)


def _reset(guest: Guest, _: Message) -> None:
    guest.publish_event(DomainEventID.REBOOT, guest.identity)


def _panicked(guest: Guest, message: Message) -> None:
    if _data(message, Action).action == "run":
        guest.transition(Trigger.CRASH_LOADED)
    elif guest.transition(Trigger.PANICKED) is not None:
        plan = lifecycle_actions.on_crash(guest.domain)
        guest.run(react(guest, plan, DomainShutoffReason.CRASHED))


def _crash_loaded(guest: Guest, _: Message) -> None:
    guest.transition(Trigger.CRASH_LOADED)


def _watchdog(guest: Guest, message: Message) -> None:
    action = _data(message, Action).action
    number = WATCHDOG_ACTIONS.get(action, DomainEventWatchdogAction.NONE)
    guest.publish_event(DomainEventID.WATCHDOG, guest.identity, number)
    if action == "pause":
        guest.transition(Trigger.STOPPED_BY_WATCHDOG)


def _io_error(guest: Guest, message: Message) -> None:
    data = _data(message, IoError)
    action = IO_ACTIONS.get(data.action, DomainEventIOErrorAction.REPORT)
    alias, path = _disk(guest, data)
    reason = "enospc" if data.nospace else ""
    guest.publish_event(DomainEventID.IO_ERROR, guest.identity, path, alias, action)
    guest.publish_event(DomainEventID.IO_ERROR_REASON, guest.identity, path, alias, action, reason)
    if action is DomainEventIOErrorAction.PAUSE:
        guest.disk_errors[alias] = data.nospace
        guest.transition(Trigger.STOPPED_BY_ERROR)


def _disk(guest: Guest, data: IoError) -> tuple[str, str]:
    """The alias and the path of a disk that an event tells of."""
    words = {data.device, *data.qom_path.split("/")}
    for disk in guest.domain.devices.disks:
        if disk.alias and (disk.alias in words or f"drive-{disk.alias}" in words):
            chain = disk.chain()
            source = chain[0][0] if chain else None
            return disk.alias, (source.file or source.dev or source.name or "") if source else ""
    return data.device, ""


def _rtc(guest: Guest, message: Message) -> None:
    offset = _data(message, Offset).offset
    guest.publish_event(DomainEventID.RTC_CHANGE, guest.identity, offset)
    clock = guest.domain.clock
    if clock is not None and clock.offset == "variable":
        clock.adjustment = str(offset)
        guest.update_and_publish()


def _balloon(guest: Guest, message: Message) -> None:
    kib = _data(message, Actual).actual // KIB
    guest.balloon_kib = kib
    if guest.domain.current_memory is not None:
        guest.domain.current_memory.amount = kib
    guest.publish_event(DomainEventID.BALLOON_CHANGE, guest.identity, kib)
    guest.update_and_publish()


def _slept(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.SUSPENDED_TO_MEMORY) is not None:
        guest.publish_event(DomainEventID.PMSUSPEND, 0, guest.identity)


def _hibernated(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.SUSPENDED_TO_DISK) is not None:
        guest.publish_event(DomainEventID.PMSUSPEND_DISK, 0, guest.identity)


def _woken(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.WAKEUP) is not None:
        guest.publish_event(DomainEventID.PMWAKEUP, 0, guest.identity)


def _deleted(guest: Guest, message: Message) -> None:
    device = _data(message, Device).device
    if device:
        deleted(guest, device)


def _unplug_refused(guest: Guest, message: Message) -> None:
    device = _data(message, Device).device
    if device:
        guest.publish_event(DomainEventID.DEVICE_REMOVAL_FAILED, guest.identity, device)


def _tray(guest: Guest, message: Message) -> None:
    data = _data(message, Tray)
    opened, closed = DomainEventTrayChangeReason.OPEN, DomainEventTrayChangeReason.CLOSE
    for disk in guest.domain.devices.disks:
        if disk.alias and disk.alias in (data.id, data.device.removeprefix("drive-")):
            reason = opened if data.tray_open else closed
            guest.publish_event(DomainEventID.TRAY_CHANGE, guest.identity, disk.alias, reason)
            disk.target.tray = "open" if data.tray_open else None
            guest.update_and_publish()


def _port(guest: Guest, message: Message) -> None:
    data = _data(message, Port)
    for channel in guest.domain.devices.channels:
        if channel.alias != data.id:
            continue
        channel.target_state = "connected" if data.open else "disconnected"
        guest.update_and_publish()
        if channel.target_name == AGENT:
            guest.agent_connected = data.open
            states = ConnectDomainEventAgentLifecycleState
            state = states.CONNECTED if data.open else states.DISCONNECTED
            reason = ConnectDomainEventAgentLifecycleReason.CHANNEL
            guest.publish_event(DomainEventID.AGENT_LIFECYCLE, guest.identity, state, reason)


def _viewer(phase: DomainEventGraphicsPhase, protocol: str) -> Handler:
    def handle(guest: Guest, message: Message) -> None:
        data = _data(message, Viewer)
        identity = []
        if data.client.x509_dname:
            identity.append(("x509dname", data.client.x509_dname))
        if data.client.sasl_username:
            identity.append(("saslUsername", data.client.sasl_username))
        scheme = data.server.auth or ("spice" if protocol == "spice" else "")
        ends = (_end(data.server), _end(data.client))
        guest.publish_event(DomainEventID.GRAPHICS, guest.identity, phase, *ends, scheme, identity)

    return handle


def _end(end: End) -> tuple[int, str, str]:
    return FAMILIES.get(end.family, 0), end.host, end.service or end.port


Handler = Callable[[Guest, Message], None]
Phase = DomainEventGraphicsPhase
HANDLERS: Final[dict[str, Handler]] = {
    "SHUTDOWN": _shutdown,
    "STOP": _stop,
    "RESUME": _resume,
    "RESET": _reset,
    "GUEST_PANICKED": _panicked,
    "GUEST_CRASHLOADED": _crash_loaded,
    "WATCHDOG": _watchdog,
    "BLOCK_IO_ERROR": _io_error,
    "RTC_CHANGE": _rtc,
    "BALLOON_CHANGE": _balloon,
    "SUSPEND": _slept,
    "SUSPEND_DISK": _hibernated,
    "WAKEUP": _woken,
    "DEVICE_DELETED": _deleted,
    "DEVICE_UNPLUG_GUEST_ERROR": _unplug_refused,
    "DEVICE_TRAY_MOVED": _tray,
    "VSERPORT_CHANGE": _port,
    "VNC_CONNECTED": _viewer(Phase.CONNECT, "vnc"),
    "VNC_INITIALIZED": _viewer(Phase.INITIALIZE, "vnc"),
    "VNC_DISCONNECTED": _viewer(Phase.DISCONNECT, "vnc"),
    "SPICE_CONNECTED": _viewer(Phase.CONNECT, "spice"),
    "SPICE_INITIALIZED": _viewer(Phase.INITIALIZE, "spice"),
    "SPICE_DISCONNECTED": _viewer(Phase.DISCONNECT, "spice"),
}


async def resume_policy(guest: Guest) -> None:
    """Take up what a predecessor left: a power-off or crash that nothing followed."""
    if guest.state is DomainState.SHUTDOWN:
        plan = lifecycle_actions.on_poweroff(guest.domain)
        await react(guest, plan, DomainShutoffReason.SHUTDOWN)
    elif guest.state is DomainState.CRASHED:
        plan = lifecycle_actions.on_crash(guest.domain)
        await react(
            guest, lifecycle_actions.LifecycleAction(plan.action), DomainShutoffReason.CRASHED
        )
