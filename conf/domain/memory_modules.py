"""Memory that can be plugged in: what a domain's totals make of it, and what it may not be. Pure.

Owns: sizes of memory devices, and <memory> and <currentMemory> as modules come and go.
May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0, qemuDomainDefValidateMemoryHotplug, qemuDomainAlignMemorySizes,
qemuDomainChangeMemoryLiveValidateChange; measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain.devices.memory import MemoryDevice
from conf.domain.model import Domain
from conf.errors import ConfError
from conf.types.size import Amount

ALIGNMENT_KIB: Final = 1024  # QEMU takes memory in MiB
#: Models that sit in a slot; the others are PCI devices.
IN_SLOTS: Final = ("dimm", "nvdimm")
UNSUPPORTED: Final = "config_unsupported"


def round_up(kib: int, unit: int = ALIGNMENT_KIB) -> int:
    """Round an amount up to whole units."""
    return -(-kib // unit) * unit


def align_module(memory: MemoryDevice, unit: int = ALIGNMENT_KIB) -> None:
    """Round a module's size up to what QEMU takes."""
    memory.target.size_amount = Amount(amount=round_up(memory.target.size, unit))


def align_modules(domain: Domain) -> None:
    """Round the modules' sizes up, as a start does; the total grows with them."""
    before = plugged_kib(domain)
    for memory in domain.devices.memories:
        align_module(memory, max(ALIGNMENT_KIB, memory.target.block or 0))
    if domain.boot_memory is not None:
        domain.boot_memory.amount += plugged_kib(domain) - before


def plugged_kib(domain: Domain) -> int:
    """Add up the memory devices."""
    return sum(memory.target.size for memory in domain.devices.memories)


def change_total(domain: Domain, kib: int) -> None:
    """Add a module's size to <memory>, or take it off."""
    if domain.boot_memory is not None:
        domain.boot_memory.amount += kib


def change_current(domain: Domain, kib: int) -> None:
    """Add a module's size to <currentMemory> of a definition, or take it off."""
    if domain.current_memory is not None:
        domain.current_memory = Amount(amount=max(domain.current_memory.amount + kib, 0))


def check_new_module(domain: Domain, memory: MemoryDevice) -> None:
    """Refuse a module that the domain has no room for.

    Raises:
        ConfError: "xml_detail": it has no such cell; "config_unsupported".
    """
    node = memory.target.node
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    if node is not None and memory.model != "virtio-pmem" and node >= len(cells):
        detail = (
            f"can't add memory backend for guest node '{node}' as the guest has only "
            f"'{len(cells)}' NUMA nodes configured"
            if cells
            else "can't add memory backend as guest has no NUMA nodes configured"
        )
        raise ConfError("xml_detail", detail)
    top = domain.max_memory
    if top is None:
        detail = "cannot use/hotplug a memory device when domain 'maxMemory' is not defined"
        raise ConfError(UNSUPPORTED, detail)
    if domain.memory + memory.target.size > top.amount:
        detail = (
            f"Attaching memory device with size '{memory.target.size}' would exceed domain's "
            f"maxMemory config size '{top.amount}'"
        )
        raise ConfError(UNSUPPORTED, detail)


def check_slot_count(domain: Domain, count: int) -> None:
    """Refuse so many memory devices; those that are PCI devices count, too.

    Raises:
        ConfError: "config_unsupported".
    """
    top = domain.max_memory
    if top is not None and count > top.slots:
        detail = f"memory device count '{count}' exceeds slots count '{top.slots}'"
        raise ConfError(UNSUPPORTED, detail)


def find_module(domain: Domain, meant: MemoryDevice) -> MemoryDevice | None:
    """Find the module that has the address of the one that is meant, or its alias."""
    for memory in domain.devices.memories:
        if meant.address is not None and memory.address == meant.address:
            return memory
        if meant.address is None and meant.alias and memory.alias == meant.alias:
            return memory
    return None


def check_module_change(present: MemoryDevice, changed: MemoryDevice) -> None:
    """Refuse every change of a running guest's module but that of a virtio-mem's requested size.

    Raises:
        ConfError: "config_unsupported".
    """
    if present.model != changed.model:
        detail = f"cannot modify memory model from '{present.model}' to '{changed.model}'"
        raise ConfError(UNSUPPORTED, detail)
    if present.model != "virtio-mem":
        raise ConfError(UNSUPPORTED, f"cannot modify memory of model '{present.model}'")
    for words, before, after in _fixed(present, changed):
        if before != after:
            change = "" if words.startswith("source") else f" from '{before}' to '{after}'"
            raise ConfError(UNSUPPORTED, f"cannot modify memory {words}{change}")


def _fixed(present: MemoryDevice, changed: MemoryDevice) -> Iterator[tuple[str, object, object]]:
    """List what stays, in libvirt's words and order."""
    target, other = present.target, changed.target
    pages = [m.source_page.amount if m.source_page else 0 for m in (present, changed)]
    yield "access", present.access or "default", changed.access or "default"
    yield "discard", _tristate(present.discard), _tristate(changed.discard)
    yield "source nodes", present.source_nodes, changed.source_nodes
    yield "pagesize", pages[0], pages[1]
    yield "path", present.source_path, changed.source_path
    yield "targetNode", _number(target.node), _number(other.node)
    yield "size", target.size, other.size
    yield "block size", target.block or 0, other.block or 0


def _tristate(value: bool | None) -> str:  # noqa: FBT001  (three values)
    return "default" if value is None else "yes" if value else "no"


def _number(value: int | None) -> int:
    return -1 if value is None else value
