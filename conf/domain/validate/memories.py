"""Checks of the memory devices of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import PciAddress
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
#: Models that are PCI devices.
VIRTIO: Final = ("virtio-pmem", "virtio-mem")


def check_memories(domain: Domain, facts: EmulatorFacts) -> None:
    """Check the memory devices and shared memory devices.

    Raises:
        ConfError: its cell is missing, or the emulator has no such device.
    """
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    for memory in domain.devices.memories:
        if memory.model == "sgx-epc" and not facts.has_object("memory-backend-epc"):
            detail = "sgx epc isn't supported by this QEMU binary"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/memory")
        if memory.model != "sgx-epc" and domain.max_memory is None:
            detail = "cannot use/hotplug a memory device when domain 'maxMemory' is not defined"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/memory")
        if memory.model in VIRTIO and not isinstance(memory.address, PciAddress | None):
            detail = f"only 'pci' addresses are supported for the {memory.model} device"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/memory/address/@type")
        node = memory.target.node
        if node is not None and memory.model == "virtio-pmem":
            detail = "virtio-pmem does not support NUMA nodes"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/memory/target/node")
        if node is not None and cells and node >= len(cells):
            detail = (
                f"can't add memory backend for guest node '{node}' as the guest has only "
                f"'{len(cells)}' NUMA nodes configured"
            )
            raise ConfError("xml_detail", detail, "domain/devices/memory/target/node")
    for shmem in domain.devices.shmems:
        model = shmem.model or "ivshmem"
        if not facts.has_device(model):
            detail = f"{model} device is not supported with this QEMU binary"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/shmem")
