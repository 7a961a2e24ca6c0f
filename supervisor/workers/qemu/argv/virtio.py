"""Options of every virtio device: <driver iommu= ats= packed= page_per_vq=>, and model names.

Owns: those properties, and the names of transitional models.
May touch: values only.
"""

from __future__ import annotations

from typing import Final, Protocol

from supervisor.workers.qemu.argv.launch_inputs import Props

SUFFIXES: Final = {
    "virtio-transitional": "-transitional",
    "virtio-non-transitional": "-non-transitional",
}


class VirtioOptions(Protocol):
    """The virtio options of a <driver> element."""

    iommu: bool | None
    ats: bool | None
    packed: bool | None
    page_per_vq: bool | None


def virtio_props(options: VirtioOptions | None) -> Props:
    """Build the virtio properties; they come right after the driver's name."""
    if options is None:
        return {}
    return {
        "iommu_platform": options.iommu,
        "ats": options.ats,
        "packed": options.packed,
        "page-per-vq": options.page_per_vq,
    }


def pci_driver(base: str, model: str | None) -> str:
    """Name the PCI driver: `virtio-blk-pci`, or its transitional or non-transitional form."""
    return f"{base}{SUFFIXES.get(model or '', '')}"
