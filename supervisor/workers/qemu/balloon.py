"""The balloon of a running guest: its size, and how often its driver reports.

Owns: those commands. May touch: QEMU, by QMP.
Source: libvirt 9.0, qemuDomainSetMemoryFlags, qemuDomainSetMemoryStatsPeriod; QEMU 7.2,
docs/virtio-balloon-stats.txt.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain
from conf.domain.devices.memballoon import Memballoon
from conf.types.size import KIB
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError
from supervisor.workers.qemu.qmp.replies import BalloonInfo

PERIPHERALS: Final = "/machine/peripheral"
NO_BALLOON: Final = ("DeviceNotActive", "KVMMissingCap")  # QEMU's error classes


async def set_balloon(guest: Guest, kib: int) -> None:
    """Ask the guest to use this much memory; BALLOON_CHANGE tells when it does.

    Raises:
        VirError: OPERATION_INVALID: there is no balloon; QEMU refuses.
    """
    if balloon_of(guest) is None:
        raise _no_balloon()
    try:
        await guest.monitor.execute("balloon", {"value": kib * KIB})
    except QmpError as error:
        if error.error_class in NO_BALLOON:
            raise _no_balloon() from error
        raise


async def set_period(guest: Guest, seconds: int) -> None:
    """Have the balloon driver report every so many seconds; 0: no more.

    Raises:
        VirError: INTERNAL_ERROR: there is no balloon; QEMU refuses.
    """
    balloon = balloon_of(guest)
    if balloon is None:
        detail = "No memory balloon device configured, can not set the collection period"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    await poll_statistics(guest.monitor, balloon, seconds)
    balloon.stats_period = seconds or None
    guest.update_xml()


async def poll_statistics(monitor: Monitor, balloon: Memballoon, seconds: int) -> None:
    """Have QEMU ask the balloon driver for its statistics every so many seconds."""
    arguments = {
        "path": f"{PERIPHERALS}/{balloon.alias}",
        "property": "guest-stats-polling-interval",
        "value": seconds,
    }
    await monitor.execute("qom-set", arguments)


async def refresh_size(guest: Guest) -> None:
    """Query how much memory the guest has, after a module came or went.

    Raises:
        VirError: QEMU does not reply.
    """
    size = guest.domain.memory
    if balloon_of(guest) is not None:
        try:
            info = await guest.monitor.query("query-balloon", BalloonInfo)
            size = current_kib(guest.domain, info.actual)
        except QmpError:  # the device is there, but not realized
            size = guest.domain.memory
    guest.balloon_kib = size
    if guest.domain.current_memory is not None:
        guest.domain.current_memory.amount = size


def current_kib(domain: Domain, actual: int) -> int:
    """Return the memory that a guest has: the balloon's rest, and what it uses of virtio-mem.

    Args:
        domain: the live XML.
        actual: bytes, as QEMU's balloon counts: without any virtio-mem.
    """
    plugged = (memory.target.current_amount for memory in domain.devices.memories)
    return actual // KIB + sum(amount.amount for amount in plugged if amount is not None)


def balloon_of(guest: Guest) -> Memballoon | None:
    """Return the guest's balloon; None: it has none."""
    balloon = guest.domain.devices.memballoon
    return balloon if balloon is not None and balloon.model != "none" else None


def _no_balloon() -> VirError:
    detail = (
        "Unable to change memory of active domain without the balloon device and guest OS balloon "
        "driver"
    )
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
