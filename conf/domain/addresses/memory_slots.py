"""Slots of memory modules.

Owns: the addresses of DIMMs and NVDIMMs. May touch: those alone.
Source: libvirt 9.0, qemuDomainAssignMemorySlots; measured.
"""

from __future__ import annotations

from conf.domain.devices.address import DimmAddress
from conf.domain.memory_modules import IN_SLOTS, UNSUPPORTED
from conf.domain.model import Domain
from conf.errors import ConfError


def assign(domain: Domain) -> None:
    """Give every module the lowest free slot that has none.

    Raises:
        ConfError: "config_unsupported": a slot is taken or beyond the last; "internal": none is
            left.
    """
    slots = domain.max_memory.slots if domain.max_memory else 0
    if not slots:  # refused later
        return
    taken: set[int] = set()
    for memory in domain.devices.memories:
        if memory.model in IN_SLOTS and isinstance(memory.address, DimmAddress):
            slot = memory.address.slot
            if slot >= slots:
                detail = f"memory device slot '{slot}' exceeds slots count '{slots}'"
                raise ConfError(UNSUPPORTED, detail)
            if slot in taken:
                detail = (
                    f"memory device slot '{slot}' is already being used by another memory device"
                )
                raise ConfError(UNSUPPORTED, detail)
            taken.add(slot)
    for memory in domain.devices.memories:
        if memory.model in IN_SLOTS and memory.address is None:
            free = next((slot for slot in range(slots) if slot not in taken), None)
            if free is None:
                raise ConfError("internal", "failed to find an empty memory slot")
            memory.address = DimmAddress(slot=free)
            taken.add(free)
