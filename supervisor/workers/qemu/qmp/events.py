"""Handlers of QMP events: they change the domain's state and publish libvirt's events.

Owns: the table of events. May touch: the domain's state; clients, by events.
Source: QEMU 7.2, "QEMU QMP Reference Manual"; libvirt 9.0's events for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from conf.domain.devices.disk_chain import local_path
from rpc.enums import (
    ConnectDomainEventAgentLifecycleReason,
    DomainEventGraphicsPhase,
    DomainEventID,
    DomainEventIOErrorAction,
    DomainEventTrayChangeReason,
    DomainEventWatchdogAction,
    DomainShutoffReason,
    DomainState,
)
from supervisor.dispatch.events import encode_event
from supervisor.messages.calls import MonitorEvent
from supervisor.objects.domain_status_xml import shown_backup
from supervisor.workers import lifecycle_actions
from supervisor.workers.qemu.agent.guest_agent import CHANNEL, publish_state
from supervisor.workers.qemu.balloon import current_kib
from supervisor.workers.qemu.block.backup_ends import on_write_error
from supervisor.workers.qemu.block.backup_plan import find_store
from supervisor.workers.qemu.block.job_ends import on_job_status
from supervisor.workers.qemu.block.nodes import (
    NODE_NAME,
    disk_of_node,
    disk_path,
    image_of_node,
    image_path,
    is_drive_of,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import on_device_deleted
from supervisor.workers.qemu.hotplug.unplug import note_answer
from supervisor.workers.qemu.lifecycle.policy import apply_action, fake_reboot
from supervisor.workers.qemu.memory_devices import on_size_changed
from supervisor.workers.qemu.qmp.event_data import (
    ActionData,
    BalloonChange,
    BlockIoError,
    DeviceData,
    GraphicsData,
    GraphicsEndpoint,
    JobStatusChange,
    MemorySize,
    PortChange,
    RtcChange,
    ShutdownData,
    TrayMoved,
    WriteThreshold,
)
from supervisor.workers.qemu.qmp.protocol import Message
from supervisor.workers.qemu.vcpus import on_vcpu_released, vcpu_number
from supervisor.workers.state_table import Trigger

MAX_DETAILS: Final = 1 << 20  # bytes of an event's data that clients get
T = TypeVar("T")

log = logging.getLogger(__name__)


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
#: Ends of which libvirt publishes STOPPED alone.
UNSAID: Final = (DomainShutoffReason.SAVED, DomainShutoffReason.CRASHED)
FAMILIES: Final = {"ipv4": 0, "ipv6": 1, "unix": 2}


def handle_event(guest: Guest, message: Message) -> None:
    """Handle an event; one with malformed data is logged and changes nothing."""
    name = message.event or ""
    forward_monitor_event(guest, message)
    guest.wake_waits(name)
    handler = HANDLERS.get(name)
    if handler is None:
        return
    try:
        handler(guest, message)
    except msgspec.MsgspecError as error:
        log.warning("%s: malformed QMP event %s: %s", guest.name, name, error)


def forward_monitor_event(guest: Guest, message: Message) -> None:
    """Forward the event itself to clients of virConnectDomainQemuMonitorEventRegister."""
    details = bytes(message.data).decode(errors="replace") if message.data is not None else None
    if details is not None and len(details) > MAX_DETAILS:
        details = None
    event = MonitorEvent(
        domain=guest.name,
        id=guest.status.id,
        seconds=message.timestamp.seconds,
        microseconds=message.timestamp.microseconds,
        details=details,
    )
    name = message.event or ""
    guest.context.forward_event("qemu_monitor", -1, guest.uuid, b"", name, monitor=event)


def _data(message: Message, kind: type[T]) -> T:
    return msgspec.json.decode(message.data or b"{}", type=kind)


def _shutdown(guest: Guest, message: Message) -> None:
    data = _data(message, ShutdownData)
    # QEMU before 4.0 sends no reason: `guest` alone decides then.
    by_host = data.reason in ("host-signal", "host-qmp-quit") or (
        not data.guest and data.reason in ("", "host-error")
    )
    if guest.status.ending in UNSAID or (guest.status.ending and not by_host):
        return  # the guest's own shutdown was overtaken
    if guest.transition(Trigger.ENDED_BY_HOST if by_host else Trigger.POWERED_OFF) is None:
        return
    if by_host:
        return  # on SIGTERM and `quit` QEMU exits in spite of -no-shutdown
    off = DomainShutoffReason.SHUTDOWN
    if guest.status.fake_reboot:
        guest.run(fake_reboot(guest))
    elif data.reason == "guest-reset":
        guest.run(apply_action(guest, lifecycle_actions.on_reboot(guest.domain), off))
    else:
        guest.run(apply_action(guest, lifecycle_actions.on_poweroff(guest.domain), off))


def _stop(guest: Guest, _: Message) -> None:
    # A client's suspend, fake reboot and so on have set the cause before their command.
    cause, guest.stop_cause = guest.stop_cause, Trigger.STOPPED
    guest.transition(cause)


def _resume(guest: Guest, _: Message) -> None:
    cause, guest.resume_cause = guest.resume_cause, Trigger.RESUMED
    guest.transition(cause)


def _reset(guest: Guest, _: Message) -> None:
    # Also after the worker's own system_reset: libvirt's event REBOOT means a reset by anyone.
    guest.publish_event(DomainEventID.REBOOT, guest.identity)


def _panicked(guest: Guest, message: Message) -> None:
    # "run": QEMU leaves the vCPUs running, so that the guest's crash kernel can write its dump.
    if _data(message, ActionData).action == "run":
        guest.transition(Trigger.CRASH_LOADED)
    elif guest.transition(Trigger.PANICKED) is not None:
        action = lifecycle_actions.on_crash(guest.domain)
        guest.run(apply_action(guest, action, DomainShutoffReason.CRASHED))


def _crash_loaded(guest: Guest, _: Message) -> None:
    guest.transition(Trigger.CRASH_LOADED)


def _watchdog(guest: Guest, message: Message) -> None:
    action = _data(message, ActionData).action
    number = WATCHDOG_ACTIONS.get(action, DomainEventWatchdogAction.NONE)
    guest.publish_event(DomainEventID.WATCHDOG, guest.identity, number)
    # QEMU sends WATCHDOG before the STOP of its action, which then changes nothing.
    if action == "pause":
        guest.transition(Trigger.STOPPED_BY_WATCHDOG)


def _io_error(guest: Guest, message: Message) -> None:
    data = _data(message, BlockIoError)
    action = IO_ACTIONS.get(data.action, DomainEventIOErrorAction.REPORT)
    alias, path = _disk(guest, data)
    reason = "enospc" if data.nospace else ""
    guest.publish_event(DomainEventID.IO_ERROR, guest.identity, path, alias, action)
    guest.publish_event(DomainEventID.IO_ERROR_REASON, guest.identity, path, alias, action, reason)
    # werror=stop: the STOP comes after this event, and has no reason.
    if action is DomainEventIOErrorAction.PAUSE:
        guest.disk_errors[alias] = data.nospace
        guest.transition(Trigger.STOPPED_BY_ERROR)
        on_write_error(guest, alias, nospace=data.nospace)


def _named_image(guest: Guest, node_name: str) -> tuple[str | None, list[str]]:
    """Return the path of a node's image, and how clients may have named it; none if unknown."""
    found = image_of_node(guest.domain.devices.disks, node_name)
    if found is not None:
        disk, index = found
        is_top = disk.source is not None and disk.source.index == index
        # Clients may have set it by either name; libvirt 9.0 sends both for the image on top.
        named = f"{disk.target.dev}[{index}]"
        return image_path(disk, index), [disk.target.dev, named] if is_top else [named]
    match = NODE_NAME.fullmatch(node_name)
    store = find_store(shown_backup(guest.status), int(match[1])) if match else None
    if store is None:
        return None, []
    return local_path(store.store), [f"{store.name}[{store.index}]"]


def _threshold_exceeded(guest: Guest, message: Message) -> None:
    data = _data(message, WriteThreshold)
    path, names = _named_image(guest, data.node_name)
    for dev in names:
        fields = (guest.identity, dev, path, data.write_threshold, data.amount_exceeded)
        payload = encode_event("domain_event_block_threshold", *fields)
        event_id = DomainEventID.BLOCK_THRESHOLD
        guest.context.forward_event("domain", event_id, guest.uuid, payload)


def _disk(guest: Guest, data: BlockIoError) -> tuple[str, str]:
    """Return the alias and the path of the disk that an error names.

    For a -blockdev, "device" is empty, and QEMU before 9.2 sends no "qom-path": the node is left.
    """
    disks = guest.domain.devices.disks
    named = (disk for disk in disks if is_drive_of(disk, data.qom_path or data.device, data.device))
    disk = next(named, None) or disk_of_node(disks, data.node_name)
    if disk is None:
        return data.device, ""
    return disk.alias or "", disk_path(disk)


def _rtc_changed(guest: Guest, message: Message) -> None:
    offset = _data(message, RtcChange).offset
    guest.publish_event(DomainEventID.RTC_CHANGE, guest.identity, offset)
    clock = guest.domain.clock
    # The guest has set its clock: with offset='variable' the next start keeps the difference.
    if clock is not None and clock.offset == "variable":
        clock.adjustment = str(offset)
        guest.update_and_publish()


def _balloon_changed(guest: Guest, message: Message) -> None:
    # QEMU limits this event to one a second, so publishing the XML each time is cheap enough.
    kib = current_kib(guest.domain, _data(message, BalloonChange).actual)
    guest.balloon_kib = kib
    if guest.domain.current_memory is not None:
        guest.domain.current_memory.amount = kib
    guest.publish_event(DomainEventID.BALLOON_CHANGE, guest.identity, kib)
    guest.update_and_publish({"current_memory"})


def _suspended(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.SUSPENDED_TO_MEMORY) is not None:
        guest.publish_event(DomainEventID.PMSUSPEND, 0, guest.identity)


def _suspended_to_disk(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.SUSPENDED_TO_DISK) is not None:
        guest.publish_event(DomainEventID.PMSUSPEND_DISK, 0, guest.identity)


def _woken(guest: Guest, _: Message) -> None:
    if guest.transition(Trigger.WAKEUP) is not None:
        guest.publish_event(DomainEventID.PMWAKEUP, 0, guest.identity)


def _device_deleted(guest: Guest, message: Message) -> None:
    # QEMU sends it for the parts of a device, too; those have a path and no id.
    device = _data(message, DeviceData).device
    number = vcpu_number(device)
    if number is not None:
        on_vcpu_released(guest, number)
    elif device:
        on_device_deleted(guest, device)


def _unplug_failed(guest: Guest, message: Message) -> None:
    device = _data(message, DeviceData).device
    if device:
        note_answer(guest, device, released=False)
        guest.publish_event(DomainEventID.DEVICE_REMOVAL_FAILED, guest.identity, device)


def _memory_size_changed(guest: Guest, message: Message) -> None:
    data = _data(message, MemorySize)
    guest.run(on_size_changed(guest, data.id, data.size))


def _tray_moved(guest: Guest, message: Message) -> None:
    data = _data(message, TrayMoved)
    opened, closed = DomainEventTrayChangeReason.OPEN, DomainEventTrayChangeReason.CLOSE
    for disk in guest.domain.devices.disks:
        if disk.alias and disk.alias in (data.id, data.device.removeprefix("drive-")):
            reason = opened if data.tray_open else closed
            guest.publish_event(DomainEventID.TRAY_CHANGE, guest.identity, disk.alias, reason)
            disk.target.tray = "open" if data.tray_open else None
            guest.update_and_publish()
    guest.tray_moved.set()
    guest.tray_moved = asyncio.Event()


def _port_changed(guest: Guest, message: Message) -> None:
    data = _data(message, PortChange)
    for channel in guest.domain.devices.channels:
        if channel.alias != data.id:
            continue
        channel.target_state = "connected" if data.open else "disconnected"
        guest.update_and_publish()
        if channel.target_name == CHANNEL:
            if guest.agent_connection is not None and not data.open:
                guest.agent_connection.disconnect()
            publish_state(guest, ConnectDomainEventAgentLifecycleReason.CHANNEL)


def _graphics(phase: DomainEventGraphicsPhase, protocol: str) -> Handler:
    def handle(guest: Guest, message: Message) -> None:
        data = _data(message, GraphicsData)
        identity = []
        if data.client.x509_dname:
            identity.append(("x509dname", data.client.x509_dname))
        if data.client.sasl_username:
            identity.append(("saslUsername", data.client.sasl_username))
        scheme = data.server.auth or ("spice" if protocol == "spice" else "")
        endpoints = (_endpoint(data.server), _endpoint(data.client))
        guest.publish_event(
            DomainEventID.GRAPHICS, guest.identity, phase, *endpoints, scheme, identity
        )

    return handle


def _endpoint(endpoint: GraphicsEndpoint) -> tuple[int, str, str]:
    return FAMILIES.get(endpoint.family, 0), endpoint.host, endpoint.service or endpoint.port


def _job_changed(guest: Guest, message: Message) -> None:
    data = _data(message, JobStatusChange)
    on_job_status(guest, data.id, data.status)


Handler = Callable[[Guest, Message], None]
Phase = DomainEventGraphicsPhase
HANDLERS: Final[dict[str, Handler]] = {
    "JOB_STATUS_CHANGE": _job_changed,
    "SHUTDOWN": _shutdown,
    "STOP": _stop,
    "RESUME": _resume,
    "RESET": _reset,
    "GUEST_PANICKED": _panicked,
    "GUEST_CRASHLOADED": _crash_loaded,
    "WATCHDOG": _watchdog,
    "BLOCK_IO_ERROR": _io_error,
    "BLOCK_WRITE_THRESHOLD": _threshold_exceeded,
    "RTC_CHANGE": _rtc_changed,
    "BALLOON_CHANGE": _balloon_changed,
    "SUSPEND": _suspended,
    "SUSPEND_DISK": _suspended_to_disk,
    "WAKEUP": _woken,
    "DEVICE_DELETED": _device_deleted,
    "DEVICE_UNPLUG_GUEST_ERROR": _unplug_failed,
    "MEMORY_DEVICE_SIZE_CHANGE": _memory_size_changed,
    "DEVICE_TRAY_MOVED": _tray_moved,
    "VSERPORT_CHANGE": _port_changed,
    "VNC_CONNECTED": _graphics(Phase.CONNECT, "vnc"),
    "VNC_INITIALIZED": _graphics(Phase.INITIALIZE, "vnc"),
    "VNC_DISCONNECTED": _graphics(Phase.DISCONNECT, "vnc"),
    "SPICE_CONNECTED": _graphics(Phase.CONNECT, "spice"),
    "SPICE_INITIALIZED": _graphics(Phase.INITIALIZE, "spice"),
    "SPICE_DISCONNECTED": _graphics(Phase.DISCONNECT, "spice"),
}


async def resume_lifecycle_action(guest: Guest) -> None:
    """Apply the lifecycle action that the previous worker did not finish."""
    if guest.state is DomainState.SHUTDOWN:
        action = lifecycle_actions.on_poweroff(guest.domain)
        await apply_action(guest, action, DomainShutoffReason.SHUTDOWN)
    elif guest.state is DomainState.CRASHED:
        action = lifecycle_actions.on_crash(guest.domain)
        await apply_action(
            guest, lifecycle_actions.LifecycleAction(action.action), DomainShutoffReason.CRASHED
        )
