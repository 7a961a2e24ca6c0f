"""Plugs vcpus into a running guest and asks it to release them.

Owns: that, and <vcpus> of the live XML. May touch: QEMU, by QMP; the vcpus' threads.
Source: libvirt 9.0, qemuDomainHotplugAddVcpu, qemuDomainHotplugDelVcpu; QEMU 7.2,
query-hotpluggable-cpus.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from conf.domain.vcpu_states import (
    VcpuSelection,
    check_count,
    check_present,
    enabled_vcpus,
    mark_plugged,
    mark_unplugged,
    select_for_count,
    select_vcpus,
    vcpus_to_plug,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker_resources import SetVcpuCount, SetVcpus
from supervisor.workers.qemu.affinity import tune_vcpu
from supervisor.workers.qemu.cgroup.guest_cgroup import vcpu_name
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.unplug import note_answer, unplug
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError
from supervisor.workers.qemu.qmp.replies import CpuInfoFast
from supervisor.workers.qemu.threads import threads_by_vcpu, vcpu_threads

ALIAS: Final = re.compile(r"vcpu(\d+)")
#: The fields of the model that say which vcpus there are.
STATES: Final = frozenset({"vcpu", "vcpus"})
PLACE: Final = ("socket-id", "die-id", "cluster-id", "core-id", "thread-id")

log = logging.getLogger(__name__)


class HotpluggableCpu(msgspec.Struct, frozen=True, rename="kebab"):
    """One place for a vcpu (`query-hotpluggable-cpus`)."""

    type: str
    vcpus_count: int = 1
    props: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class CpuSlot:
    """A place for vcpus that come and go together."""

    number: int  # of its first vcpu
    count: int
    type: str  # QEMU's device
    properties: dict[str, int]  # where it is: socket-id, core-id, …


async def query_slots(monitor: Monitor) -> dict[int, CpuSlot]:
    """Query the places for vcpus, by the number of their first; none: the machine has no hotplug.

    Raises:
        VirError: QEMU does not reply.
    """
    try:
        cpus = await monitor.query("query-hotpluggable-cpus", list[HotpluggableCpu])
    except QmpError:
        return {}
    slots: dict[int, CpuSlot] = {}
    number = 0
    for cpu in sorted(cpus, key=_place):
        count = max(1, cpu.vcpus_count)
        slots[number] = CpuSlot(number, count, cpu.type, cpu.props)
        number += count
    return slots


def _place(cpu: HotpluggableCpu) -> tuple[int, ...]:
    return tuple(cpu.props.get(name, 0) for name in PLACE)


async def set_count(guest: Guest, request: SetVcpuCount) -> None:
    """Plug or unplug vcpus until there are as many as requested.

    Raises:
        ConfError: "config_unsupported": no set of them leads there.
        VirError: as `plug` and `release`.
    """
    check_count(guest.domain, request.count, "live")
    slots = await query_slots(guest.monitor)
    selection = select_for_count(guest.domain, request.count, _sizes(slots))
    await _apply(guest, selection, slots)


async def set_vcpus(guest: Guest, request: SetVcpus) -> None:
    """Plug or unplug the vcpu that was named.

    Raises:
        ConfError: "invalid_arg", "operation_unsupported": it cannot be.
        VirError: as `plug` and `release`.
    """
    check_present(guest.domain, request.numbers, "live")
    slots = await query_slots(guest.monitor)
    sizes = _sizes(slots)
    selection = select_vcpus(guest.domain, request.numbers, sizes, enabled=request.enabled)
    await _apply(guest, selection, slots)


def _sizes(slots: dict[int, CpuSlot]) -> dict[int, int]:
    return {number: slot.count for number, slot in slots.items()}


async def _apply(guest: Guest, selection: VcpuSelection, slots: dict[int, CpuSlot]) -> None:
    for number in selection.numbers:
        slot = slots.get(number)
        if slot is None:
            detail = "vcpu hotplug is not supported by this machine type"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.QEMU)
        if selection.enable:
            async with guest.device_lock:
                await plug(guest, slot)
        else:
            # Without the lock: the guest may take seconds.
            await release(guest, slot)


async def plug(guest: Guest, slot: CpuSlot) -> None:
    """Plug the vcpus of a place.

    Raises:
        VirError: QEMU refuses; SYSTEM_ERROR: they run, but the kernel refuses their pinning.
    """
    await guest.monitor.execute("device_add", device_arguments(slot))
    numbers = range(slot.number, slot.number + slot.count)
    guest.vcpu_threads = {}
    mark_plugged(guest.domain, numbers)
    guest.update_xml(STATES)
    threads = await vcpu_threads(guest)
    for number in numbers:
        if number in threads:
            await tune_vcpu(guest, number, threads)
    log.info("%s: vcpu %d plugged", guest.name, slot.number)


async def plug_at_start(guest: Guest, monitor: Monitor) -> None:
    """Plug the vcpus that <vcpus> enables and lets be unplugged, before the guest runs.

    Raises:
        VirError: QEMU refuses; SYSTEM_ERROR: the kernel refuses their pinning.
    """
    numbers = vcpus_to_plug(guest.domain)
    if not numbers:
        return
    slots = await query_slots(monitor)
    for number in numbers:
        if number in slots:  # else it comes with another one
            await monitor.execute("device_add", device_arguments(slots[number]))
    threads = threads_by_vcpu(guest, await monitor.query("query-cpus-fast", list[CpuInfoFast]))
    for number in numbers:
        if number not in threads:
            detail = f"QEMU did not plug vcpu {number}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        await tune_vcpu(guest, number, threads)


def device_arguments(slot: CpuSlot) -> dict[str, object]:
    """Make the arguments of the `device_add` that plugs a place's vcpus."""
    return {"driver": slot.type, "id": f"vcpu{slot.number}", **slot.properties}


async def release(guest: Guest, slot: CpuSlot) -> None:
    """Ask the guest to release the vcpus of a place, and wait until it has.

    Raises:
        VirError: QEMU or the guest refuses; OPERATION_TIMEOUT: the guest does not answer.
    """
    if await unplug(guest, f"vcpu{slot.number}"):
        return
    # Emulated vcpus (QEMU 7.2, TCG) go without DEVICE_DELETED.
    guest.vcpu_threads = {}
    await follow_vcpus(guest)
    if slot.number in enabled_vcpus(guest.domain):
        detail = (
            "vcpu unplug request timed out. Unplug result must be manually inspected in the domain"
        )
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU)


def vcpu_number(alias: str) -> int | None:
    """Return which vcpu a device is, by its alias; None: it is none."""
    match = ALIAS.fullmatch(alias)
    return int(match[1]) if match else None


def on_vcpu_released(guest: Guest, number: int) -> None:
    """Handle DEVICE_DELETED of a vcpu, however late it comes."""
    guest.run(_finish_release(guest, number))


async def _finish_release(guest: Guest, number: int) -> None:
    """Record that the guest has released a vcpu, with those that went with it."""
    guest.vcpu_threads = {}
    await follow_vcpus(guest)
    log.info("%s: vcpu %d unplugged", guest.name, number)
    note_answer(guest, f"vcpu{number}", released=True)


async def follow_vcpus(guest: Guest) -> None:
    """Make the live XML say which vcpus QEMU has.

    A worker can die between QEMU's change and the XML's; the guest can release one at any time.

    Raises:
        VirError: QEMU does not reply.
    """
    present = set(await vcpu_threads(guest))
    known = set(enabled_vcpus(guest.domain))
    states = range(guest.domain.maximum_vcpus)
    if not present or present == known or not present <= set(states):
        return
    if gone := known - present:
        mark_unplugged(guest.domain, gone)
        for number in gone:
            guest.cgroup.remove_thread(vcpu_name(number))
    if added := sorted(present - known):
        mark_plugged(guest.domain, added)
    guest.update_and_publish(STATES)
