"""Checks of the memory devices of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain.devices.address import PciAddress
from conf.domain.devices.memory import MemoryDevice
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
#: Models that belong to a NUMA cell.
PLACED: Final = ("dimm", "nvdimm", "virtio-mem")
LEAST_LABEL_KIB: Final = 128
LEAST_BLOCK_KIB: Final = 2048  # a transparent huge page of x86
#: Models that are PCI devices.
VIRTIO: Final = ("virtio-pmem", "virtio-mem")


def check_memories(domain: Domain, facts: EmulatorFacts) -> None:
    """Check the memory devices and shared memory devices.

    Raises:
        ConfError: its cell is missing, or the emulator has no such device.
    """
    for memory in domain.devices.memories:
        check_memory_device(domain, memory, facts)
    for shmem in domain.devices.shmems:
        model = shmem.model or "ivshmem"
        if not facts.has_device(model):
            detail = f"{model} device is not supported with this QEMU binary"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/shmem")


def check_memory_device(domain: Domain, memory: MemoryDevice, facts: EmulatorFacts) -> None:
    """Check one of the memory devices. Raises as `check_memories`."""
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    if memory.model == "sgx-epc" and not facts.has_object("memory-backend-epc"):
        detail = "sgx epc isn't supported by this QEMU binary"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/memory")
    if memory.model != "sgx-epc" and domain.max_memory is None:
        detail = "cannot use/hotplug a memory device when domain 'maxMemory' is not defined"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/memory")
    if memory.model in VIRTIO and not isinstance(memory.address, PciAddress | None):
        detail = f"only 'pci' addresses are supported for the {memory.model} device"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/memory/address/@type")
    for kind, detail in _contradictions(memory):
        raise ConfError(kind, detail, "domain/devices/memory")
    node = memory.target.node
    if node is None and memory.model in PLACED:
        detail = "target NUMA node needs to be specified for memory device"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/memory/target/node")
    if node is not None and memory.model == "virtio-pmem":
        detail = "virtio-pmem does not support NUMA nodes"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/memory/target/node")
    if node is not None and cells and node >= len(cells):
        detail = (
            f"can't add memory backend for guest node '{node}' as the guest has only "
            f"'{len(cells)}' NUMA nodes configured"
        )
        raise ConfError("xml_detail", detail, "domain/devices/memory/target/node")


def _contradictions(memory: MemoryDevice) -> Iterator[tuple[str, str]]:
    """List what is wrong with a device's own sizes: the kind of error and its words."""
    target = memory.target
    yield from _missing_of_files(memory)
    if memory.model == "nvdimm":
        label = target.label_size.amount if target.label_size else None
        if memory.uuid is not None:
            yield UNSUPPORTED, "UUID is not supported for NVDIMM device"
        if label is not None and label < LEAST_LABEL_KIB:
            yield "xml", f"nvdimm label must be at least {LEAST_LABEL_KIB}KiB"
        if label is not None and label >= target.size:
            yield "xml", "label size must be smaller than NVDIMM size"
    if memory.model == "virtio-mem":
        block, requested = target.block or 0, target.requested or 0
        if requested > target.size:
            detail = f"requested size must be smaller than or equal to @size ({target.size}KiB)"
            yield "xml_detail", detail
        if block.bit_count() != 1:
            yield "xml_detail", "block size must be a power of two"
        elif block < LEAST_BLOCK_KIB:
            yield "xml_detail", f"block size too small, must be at least {LEAST_BLOCK_KIB}KiB"
        elif requested % block:
            yield "xml_detail", "requested size must be an integer multiple of block size"


def _missing_of_files(memory: MemoryDevice) -> Iterator[tuple[str, str]]:
    """List what is wrong with a device whose memory is a file on the host."""
    if memory.model not in ("nvdimm", "virtio-pmem"):
        return
    if not memory.source_path:
        yield "xml_detail", f"path is required for model '{memory.model}'"
    if memory.discard:
        what = "nvdimms" if memory.model == "nvdimm" else f"model '{memory.model}'"
        yield UNSUPPORTED, f"discard is not supported for {what}"
