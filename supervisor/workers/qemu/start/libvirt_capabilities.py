"""A QEMU's capabilities by libvirt's names, which its status files must have. Pure.

Owns: which fact about a QEMU is which of libvirt's flags. May touch: values only.
Source: libvirt 9.0, virQEMUCapsTypeFromString: its names are the format of <qemuCaps>.

libvirt's daemon asks a running QEMU again for little: with which commands it plugs a device into a
guest that it has taken over, it reads from the guest's status file. A guest without <qemuCaps> it
ends. Newer daemons know these names, too, and take newer ones for absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.emulator import EmulatorFacts


def names(text: str) -> list[str]:
    """Split a table's names."""
    return text.split()


OLDEST: Final = (7, 2, 0)  # of the QEMU whose flags are all told by the tables
#: What every QEMU of that version or a newer one has.
ALWAYS: Final = names("""
    blockdev-reopen blockdev-snapshot.allow-write-only-overlay blockdev.nbd.tls-hostname
    canonical-cpu-features chardev-reconnect compat-deprecated confidential-guest-support
    cpu-cache cpu-max device.json+hotplug dirtyrate-param.mode incremental-backup
    iothread.poll-max-ns iothread.thread-pool-max
    memory-backend-file.prealloc-threads memory-backend-file.reserve
    memory-backend-file.x-use-canonical-path-for-ramblock-id migration-file-drop-cache
    migration-param.block-bitmap-mapping migration.blocked-reasons nbd-bitmap nbd-tls netdev.json
    object.qapified query-named-block-nodes.flat screendump_device screenshot-format-png
""")
#: What every x86 QEMU of that version or a newer one has.
X86: Final = names("""
    cpu-unavailable-features cpu.migratable disable-s3 disable-s4 i8042 ich9-disable-s3
    ich9-disable-s4 kvm-pit-lost-tick-policy machine-vmport-opt mch mch.extended-tseg-mbytes
    no-acpi no-hpet numa.hmat piix4.acpi-root-pci-hotplug sev-guest-kernel-hashes smp-dies
    x86-max-cpu gpex-pcihost virtio-mmio
""")
#: What a device stands for, where its name is another or more than one flag follows from it.
DEVICES: Final = {
    "ccid-card-emulated": "ccid-emulated",
    "ccid-card-passthru": "ccid-passthru",
    "i82801b11-bridge": "dmi-to-pci-bridge",
    "ide-hd": "ide-drive.wwn",
    "intel-iommu": "intel-iommu.intremap intel-iommu.caching-mode intel-iommu.eim "
    "intel-iommu.device-iotlb intel-iommu.aw-bits",
    "lsi53c895a": "lsi",
    "nvdimm": "nvdimm.unarmed",
    "pcie-root-port": "pcie-root-port.hotplug acpi-index",
    "qxl": "qxl.vgamem_mb qxl.vram64_size_mb",
    "scsi-hd": "scsi-disk.channel scsi-disk.wwn rotation-rate",
    "usb-host": "usb-host.hostdevice usb-host.guest-resets-all",
    "usb-redir": "usb-redir.filter",
    "usb-storage": "usb-storage.removable",
    "VGA": "VGA.vgamem_mb",
    "vfio-pci": "vfio-pci.display",
    "vhost-scsi-pci": "vhost-scsi",
    "vhost-user-blk-pci": "vhost-user-blk",
    "vhost-user-fs-pci": "vhost-user-fs vhost-user-fs.bootindex",
    "vhost-user-gpu-pci": "vhost-user-gpu",
    "vhost-vsock-pci": "vhost-vsock",
    "virtio-balloon-pci": "virtio-balloon-pci.deflate-on-oom virtio-balloon.free-page-reporting",
    "virtio-blk-pci": "virtio-blk-pci.scsi virtio-blk-pci.scsi.default.disabled "
    "virtio-blk.queue-size",
    "virtio-blk-pci-non-transitional": "virtio-pci-non-transitional",
    "virtio-gpu-pci": "virtio-gpu",
    "virtio-input-host-pci": "virtio-input-host",
    "virtio-iommu-pci": "virtio-iommu.boot-bypass",
    "virtio-keyboard-pci": "virtio-keyboard",
    "virtio-mem-pci": "virtio-mem-pci.prealloc",
    "virtio-mouse-pci": "virtio-mouse",
    "virtio-net-pci": "virtio-net virtio-net.rss",
    "virtio-rng-pci": "virtio-rng",
    "virtio-tablet-pci": "virtio-tablet",
    "vmware-svga": "vmware-svga.vgamem_mb",
}
#: Flags that have the name of a device.
SAME_DEVICE: Final = frozenset(
    names("""
    VGA am53c974 bochs-display cirrus-vga dc390 e1000 hda-duplex hda-micro hda-output ich9-ahci
    ich9-intel-hda ich9-usb-ehci1 intel-iommu ioh3420 isa-serial ivshmem-doorbell ivshmem-plain
    megasas mptsas1068 nec-usb-xhci nvdimm pc-dimm pci-bridge pci-ohci pci-serial pcie-pci-bridge
    pcie-root-port piix3-usb-uhci piix4-usb-uhci pvpanic pvscsi pxb pxb-pcie qemu-xhci qxl ramfb
    rtl8139 scsi-block usb-audio usb-ehci usb-hub usb-kbd usb-redir usb-serial usb-storage vfio-pci
    vhost-user-vga virtio-gpu-gl-pci virtio-iommu-pci virtio-mem-pci virtio-pmem-pci virtio-scsi-pci
    virtio-vga virtio-vga-gl vmcoreinfo vmgenid vmware-svga x3130-upstream xio3130-downstream
    """)
)
SAME_OBJECT: Final = frozenset(
    names("""
    dbus-vmstate input-linux iothread memory-backend-memfd pr-manager-helper rng-builtin rng-egd
    rng-random thread-context
    """)
)
SAME_COMMAND: Final = frozenset(
    names("""
    block-export-add calc-dirty-rate query-cpu-definitions query-cpu-model-expansion
    query-hotpluggable-cpus query-stats query-stats-schemas rtc-reset-reinjection
    sev-inject-launch-secret set-action
    """)
)
OPTIONS: Final = {
    "fsdev": "fsdev.multidevs",
    "sandbox": "seccomp-sandbox",
    "spice": "spice",
    "vnc": "vnc vnc-power-control",
}
DISPLAYS: Final = {
    "dbus": "display-dbus",
    "egl-headless": "egl-headless egl-headless.rendernode",
    "sdl": "sdl",
}
BACKENDS: Final = {
    "chardev": {"qemu-vdagent": "chardev.qemu-vdagent"},
    "display": DISPLAYS,
    "netdev": {"stream": "netdev.stream", "vhost-vdpa": "netdev.vhost-vdpa"},
    "blockdev": {"nvme": "drive-nvme", "rbd": "rbd-encryption"},
}
TPM_MODELS: Final = frozenset({"tpm-tis", "tpm-crb"})
TPM: Final = {"passthrough": "tpm-passthrough", "emulator": "tpm-emulator"}


def capability_flags(facts: EmulatorFacts) -> list[str]:
    """List a QEMU's capabilities; none for one that is older than what the tables know."""
    if facts.version < OLDEST:
        return []
    return sorted({flag for names in _flags(facts) for flag in names.split()})


def _flags(facts: EmulatorFacts) -> Iterator[str]:
    yield from ALWAYS
    if facts.arch in ("x86_64", "i686"):
        yield from X86
    yield "kvm tcg" if facts.kvm_usable else "tcg"
    yield from SAME_DEVICE & facts.devices
    yield from (flags for device, flags in DEVICES.items() if device in facts.devices)
    yield from SAME_OBJECT & facts.objects
    if "memory-backend-memfd" in facts.objects:
        yield "memory-backend-memfd.hugetlb"
    yield from SAME_COMMAND & facts.commands
    if "query-dirty-rate" in facts.commands:
        yield "query-dirty-rate"
    yield from (flags for option, flags in OPTIONS.items() if option in facts.options)
    if "gl" in facts.options.get("spice", ()):
        yield "spice-gl spice-rendernode"
    for kind, backends in BACKENDS.items():
        found = facts.backends.get(kind, frozenset())
        yield from (flags for backend, flags in backends.items() if backend in found)
    yield from (flag for kind, flag in TPM.items() if kind in facts.tpm_types)
    yield from facts.tpm_models & TPM_MODELS
