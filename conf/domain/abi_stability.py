"""Whether a guest's machine may go on under another definition: what it sees must be the same.

Owns: the comparison and its refusals. Pure.
Source: libvirt 9.0, virDomainDefCheckABIStability: the texts, and which host-side parts (sources,
names of taps, graphics, titles) may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.devices import Devices
from conf.domain.devices.disk import Disk
from conf.domain.devices.interface import Interface
from conf.domain.model import Domain
from conf.errors import ConfError

#: What the guest sees of a thing: what libvirt calls it, and its value.
Facts = list[tuple[str, object]]


def check_abi_stability(source: Domain, target: Domain) -> None:
    """Refuse a definition of another machine than the guest's.

    Args:
        source: the guest's; complete.
        target: the one that it is to go on with; complete.

    Raises:
        ConfError: "config_unsupported": what differs.
    """
    _compare(_of_domain(source), _of_domain(target))
    for what, facts in DEVICES:
        old, new = facts(source.devices), facts(target.devices)
        if len(old) != len(new):
            raise _differs(f"Target domain {what} count", len(new), len(old))
        for one, other in zip(old, new, strict=True):
            _compare(one, other)


def _of_domain(domain: Domain) -> Facts:
    kind, current = domain.os.type, domain.current_memory
    return [
        ("Target domain virt type", domain.type),
        ("Target domain uuid", domain.uuid),
        ("Target domain name", Quoted(domain.name)),
        ("Target domain max memory", domain.memory),
        ("Target domain current memory", current.amount if current else domain.memory),
        ("Target domain vCPU max", domain.maximum_vcpus),
        ("Target domain vCPU count", domain.current_vcpus),
        ("Target domain OS type", kind.name if kind else None),
        ("Target domain architecture", kind.arch if kind else None),
        ("Target domain machine type", kind.machine if kind else None),
        ("Target domain SMBIOS mode", domain.os.smbios_mode),
        ("Target domain features", Unshown(domain.features)),
        ("Target CPU", Unshown(domain.cpu)),
    ]


class Quoted(str):
    """A value that libvirt writes between quotes."""

    __slots__ = ()


class Unshown:
    """A value with too many parts for a message."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unshown) and self._value == other._value

    def __hash__(self) -> int:
        return 0


def _disk(disk: Disk) -> Facts:
    return [
        ("Target disk device", disk.device),
        ("Target disk bus", disk.target.bus),
        ("Target disk", disk.target.dev),
        ("Target disk serial", disk.serial),
        ("Target disk wwn", disk.wwn),
        ("Target disk access mode", disk.readonly),
        *_address(disk.address),
    ]


def _interface(interface: Interface) -> Facts:
    return [
        ("Target network card mac", interface.mac_element.address if interface.mac_element else ""),
        ("Target network card model", interface.model),
        *_address(interface.address),
    ]


def _controller(controller: Controller) -> Facts:
    return [
        ("Target controller type", controller.type),
        ("Target controller index", controller.index),
        ("Target controller model", controller.model),
        ("Target controller ports", controller.ports),
        ("Target controller vectors", controller.vectors),
        *_address(controller.address),
    ]


def _char_device(device: CharDevice) -> Facts:
    return [
        ("Target character device type", device.target_type),
        ("Target channel name", device.target_name),
        ("Target port", device.target_port),
        *_address(device.address),
    ]


def _model_and_address(device: object) -> Facts:
    """Compare what most devices have: a type, a bus, a model and an address."""
    names = ("type", "bus", "model", "mode")
    facts: Facts = [(f"Target device {name}", getattr(device, name, None)) for name in names]
    return [*facts, *_address(getattr(device, "address", None))]


def _address(address: object) -> Facts:
    return [
        ("Target device address type", type(address).__name__),
        ("Target device address", Unshown(address)),
    ]


def _compare(source: Facts, target: Facts) -> None:
    for (what, old), (_, new) in zip(source, target, strict=True):
        if old != new:
            raise _differs(what, new, old)


def _differs(what: str, new: object, old: object) -> ConfError:
    if isinstance(old, Unshown):
        return ConfError("config_unsupported", f"{what} does not match source")
    shown = [f"'{one}'" if isinstance(one, Quoted) else str(one) for one in (new, old)]
    return ConfError("config_unsupported", f"{what} {shown[0]} does not match source {shown[1]}")


def _plain(devices: Iterable[object]) -> list[Facts]:
    return [_model_and_address(device) for device in devices if device is not None]


def _chars(devices: Iterable[CharDevice]) -> list[Facts]:
    return [_char_device(device) for device in devices]


#: Each kind of device, by libvirt's name in errors.
DEVICES: Final[Sequence[tuple[str, Callable[[Devices], list[Facts]]]]] = (
    ("disk", lambda devices: [_disk(disk) for disk in devices.disks]),
    ("controller", lambda devices: [_controller(one) for one in devices.controllers]),
    ("net card", lambda devices: [_interface(one) for one in devices.interfaces]),
    ("filesystem", lambda devices: _plain(devices.filesystems)),
    ("input device", lambda devices: _plain(devices.inputs)),
    ("sound card", lambda devices: _plain(devices.sounds)),
    ("video card", lambda devices: _plain(devices.videos)),
    ("host device", lambda devices: _plain(devices.hostdevs)),
    ("smartcard", lambda devices: _plain(devices.smartcards)),
    ("serial port", lambda devices: _chars(devices.serials)),
    ("parallel port", lambda devices: _chars(devices.parallels)),
    ("channel", lambda devices: _chars(devices.channels)),
    ("console", lambda devices: _chars(devices.consoles)),
    ("hub device", lambda devices: _plain(devices.hubs)),
    ("redirected devices", lambda devices: _plain(devices.redirdevs)),
    ("watchdog device", lambda devices: _plain(devices.watchdogs)),
    ("memory balloon", lambda devices: _plain([devices.memballoon])),
    ("RNG device", lambda devices: _plain(devices.rngs)),
    ("TPM device", lambda devices: _plain(devices.tpms)),
    ("panic device", lambda devices: _plain(devices.panics)),
    ("shared memory device", lambda devices: _plain(devices.shmems)),
    ("memory module", lambda devices: _plain(devices.memories)),
    ("IOMMU device", lambda devices: _plain([devices.iommu])),
    ("vsock device", lambda devices: _plain([devices.vsock])),
)
