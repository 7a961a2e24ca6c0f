"""The host's resources that a domain uses, as audit records name them. Pure.

Owns: which parts of the live XML are resources, and the fields that name them.
Source: libvirt 9.0, "Audit log", VIRT_RESOURCE, and its records on Debian 12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from conf.domain import Domain
from conf.domain.device_xml import KINDS, parse_device
from conf.domain.devices.devices import Devices
from conf.domain.devices.hostdev import Hostdev
from supervisor.runtime.audit import field, plain

NOTHING: Final = "?"  # a resource that was not there before, or is not any more
#: The fields of `Domain` that `resources_of` reads.
AUDITED: Final = frozenset({"devices", "boot_memory", "vcpu", "iothreads", "iothread_ids"})
#: Types of character devices whose source is a path of the host.
PATHS: Final = ("pty", "dev", "file", "pipe", "unix")


@dataclass(frozen=True, slots=True)
class AuditedResource:
    """One resource."""

    type: str  # `resrc=`
    place: str  # what the guest knows it by, so that a change is told from another device
    value: str  # on the host; "": of a drive without a medium
    #: Fields in place of `old-TYPE=` and `new-TYPE=`, for types that have others.
    fields: str = ""
    is_amount: bool = False  # the value is a number, of which there was another before

    def change(self, old: str | None, new: str | None) -> str:
        """Describe a change in the record's fields; None: it is not there."""
        if self.fields:
            return self.fields
        if self.is_amount:
            return f"old-{self.type}={old or 0} new-{self.type}={new or 0}"
        before = field(f"old-{self.type}", old or NOTHING)
        return f"{before} {field(f'new-{self.type}', new or NOTHING)}"


def resources_of(domain: Domain) -> dict[tuple[str, str], AuditedResource]:
    """List what a domain uses, in the order of libvirt's records, by type and place."""
    found = (*of_devices(domain.devices), *_amounts(domain))
    return {(resource.type, resource.place): resource for resource in found}


def of_devices(devices: Devices) -> Iterator[AuditedResource]:
    """List what devices use."""
    yield from _storage(devices)
    yield from _others(devices)


def of_device(xml: str) -> list[AuditedResource]:
    """List what one device uses.

    Raises:
        ConfError: it is none.
    """
    tag, device = parse_device(xml)
    devices = Devices()
    if not KINDS[tag].single:
        getattr(devices, KINDS[tag].place).append(device)
    return list(of_devices(devices))


def _storage(devices: Devices) -> Iterator[AuditedResource]:
    for disk in devices.disks:
        source = disk.source
        path = (source.file or source.dev or source.dir or source.name) if source else None
        yield AuditedResource("disk", disk.target.dev or "", path or "")
    for interface in devices.interfaces:
        if interface.mac:
            yield AuditedResource("net", interface.mac, interface.mac)
    for filesystem in devices.filesystems:
        source_of = filesystem.source
        path = (source_of.dir or source_of.file or source_of.dev) if source_of else None
        if path:
            yield AuditedResource("fs", filesystem.target_dir or "", path)


def _others(devices: Devices) -> Iterator[AuditedResource]:
    for hostdev in devices.hostdevs:
        described = host_device(hostdev)
        if described:
            kind = "hostdev" if hostdev.mode == "capabilities" else "dev"
            yield AuditedResource(kind, described, described, described)
    for number, _ in enumerate(devices.redirdevs):
        fields = f"bus=usb {field('device', 'USB redirdev')}"
        yield AuditedResource("dev", f"redirdev{number}", "", fields)
    groups = (devices.serials, devices.parallels, devices.channels)
    for device in (device for group in groups for device in group):
        if device.type in PATHS and device.path:
            yield AuditedResource("chardev", device.alias or device.path, device.path)
    for card in devices.smartcards:
        yield AuditedResource("smartcard", card.alias or "", card.path or "nss-smartcard-device")
    for rng in devices.rngs:
        backend = rng.backends[0] if rng.backends else None
        path = (backend.file or backend.path) if backend else None
        yield AuditedResource("rng", rng.alias or "", path or NOTHING)
    for tpm in devices.tpms:
        kind = "tpm" if tpm.backend.type == "passthrough" else "tpm-emulator"
        path = tpm.backend.path or tpm.backend.source_path or NOTHING
        yield AuditedResource(kind, "", path, field("device", path))
    for shmem in devices.shmems:
        size = shmem.size.amount * 1024 if shmem.size else 0
        path = shmem.server_path or f"/dev/shm/{shmem.name}"
        yield AuditedResource("shmem", shmem.name, path, f"size={size} {plain('path', path)}")


def _amounts(domain: Domain) -> Iterator[AuditedResource]:
    yield AuditedResource("mem", "", str(domain.memory), is_amount=True)
    yield AuditedResource("vcpu", "", str(domain.current_vcpus), is_amount=True)
    threads = len(domain.iothread_list())
    if threads:
        yield AuditedResource("iothread", "", str(threads), is_amount=True)


def host_device(hostdev: Hostdev) -> str:
    """Name a device of the host as its bus does; "": none is known."""
    source = hostdev.source
    if source.block or source.char:  # of a container
        return field("disk" if source.block else "chardev", source.block or source.char or "")
    address = source.address
    if address is None:
        return ""
    if hostdev.type == "pci":
        slot = f"{address.slot or 0:02x}.{address.function or 0:x}"
        name = f"{address.domain or 0:04x}:{address.pci_bus or 0:02x}:{slot}"
    elif hostdev.type == "usb":
        name = f"{address.bus or 0:03d}.{address.device or 0:03d}"
    elif hostdev.type == "scsi":
        place = (address.bus or 0, address.target or 0, address.unit or 0)
        name = f"{hostdev.source.adapter or ''}:{':'.join(map(str, place))}"
    else:
        name = address.uuid or ""
    return f"bus={hostdev.type} {field('device', name)}" if name else ""
