"""PCI addresses of a domain: reads its devices as endpoints, writes places and bridges back.

Owns: the order in which devices are served, the bridges that are added, ports and chassis numbers.
May touch: addresses of the domain, and its list of controllers.
May not touch: anything else of the domain. Which slot is free: `placement`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from conf.domain.addresses.pci_needs import Needs
from conf.domain.addresses.placement import (
    Board,
    Bridge,
    Endpoint,
    missing_bridges,
    place_all,
)
from conf.domain.addresses.topology import CONTROLLER_NEEDS, Connect, Place
from conf.domain.architectures import root_of
from conf.domain.devices.address import Address, PciAddress
from conf.domain.devices.controller import Controller, ControllerTarget
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

BRIDGE_NAMES: Final = {
    "pci-bridge": "pci-bridge",
    "dmi-to-pci-bridge": "i82801b11-bridge",
    "pcie-to-pci-bridge": "pcie-pci-bridge",
    "pcie-root-port": "pcie-root-port",
    "pcie-switch-upstream-port": "x3130-upstream",
    "pcie-switch-downstream-port": "xio3130-downstream",
    "pci-expander-bus": "pxb",
    "pcie-expander-bus": "pxb-pcie",
}
PC: Final = ("x86_64", "i686")
#: Architectures whose machines without PCI have virtio devices elsewhere.
MMIO: Final = ("aarch64", "armv7l", "armv6l", "riscv32", "riscv64")
FIRST_EXPANDER_BUS: Final = (
    256  # expander buses are numbered down from here, with gaps for children
)


class Addressed(Protocol):
    """A device that has an address."""

    address: Address | None


Pair = tuple[Endpoint, Addressed]


def assign(domain: Domain, facts: EmulatorFacts) -> None:
    """Assign an address to every PCI device, adding the bridges that are needed.

    Raises:
        ConfError: an address of the XML is impossible or taken, or there is no room.
    """
    board = board_of(domain, facts)
    pairs = list(_pairs(domain, board or Board("", "")))
    if board is None:
        # Other architectures' roots are not added by this build: their machines go without.
        if facts.arch in PC and any(_needs_bus(domain, endpoint) for endpoint, _ in pairs):
            raise ConfError("xml", "No PCI buses available", "domain/devices")
        return
    bridges = missing_bridges(board, [endpoint for endpoint, _ in pairs])
    if bridges:
        position = sum(endpoint.kind == "pci" for endpoint, _ in pairs)
        pairs[position:position] = [_add_bridge(domain, bridge) for bridge in bridges]
    place_all(board, [endpoint for endpoint, _ in pairs])
    for endpoint, item in pairs:
        _write(endpoint, item)
    _number_bridges(domain)


def _needs_bus(domain: Domain, endpoint: Endpoint) -> bool:
    """Return whether a device must be on a PCI bus of a machine that has none, as libvirt sees it.

    Machines of other architectures are refused later, but for this.
    """
    arch, machine = domain.os.type.arch, domain.os.type.machine or ""
    if root_of(arch, machine) or (arch == "s390x" and machine.startswith("s390-ccw")):
        return False
    if arch in MMIO:
        return endpoint.place is not None
    return bool(endpoint.needs)


def board_of(domain: Domain, facts: EmulatorFacts) -> Board | None:
    """Describe the machine's on-board PCI devices; None for a machine without PCI."""
    controllers = domain.devices.controllers
    root = next((c.model for c in controllers if c.type == "pci" and c.index == 0), None)
    if root is None:
        return None
    machine = facts.canonical_machine(domain.os.type.machine or "")
    chipset = ""
    if machine.startswith("pc-q35-"):
        chipset = "q35"
    elif machine.startswith(("pc-i440fx-", "pc-0.", "pc-1.")):
        chipset = "i440fx"
    return Board(chipset, root, facts.has_device("pcie-pci-bridge"))


def _pair(item: Addressed, endpoint: Endpoint) -> Iterator[Pair]:
    """Yield the device with its endpoint; nothing for one that is not on PCI."""
    if not endpoint.needs and endpoint.kind != "pci":
        return
    match item.address:
        case PciAddress() as address:
            endpoint.place = Place(address.domain, address.bus, address.slot, address.function)
            endpoint.multifunction = address.multifunction
        case None:
            pass
        case _:
            return
    yield endpoint, item


def _pairs(domain: Domain, board: Board) -> Iterator[Pair]:
    """List every device that may be on PCI, in libvirt's order of assignment."""
    needs = Needs.of(board.root)
    devices = domain.devices
    for controller in devices.controllers:
        if controller.type == "pci":
            yield from _pair(controller, _bridge(controller, needs))
    for filesystem in devices.filesystems:
        virtiofs = filesystem.driver_type == "virtiofs"
        plug = needs.express if virtiofs else needs.virtio_device(filesystem.model)
        yield from _pair(filesystem, Endpoint("filesystem", plug))
    for interface in devices.interfaces:
        if interface.type != "hostdev":
            yield from _pair(interface, Endpoint("interface", needs.interface(interface.model)))
    for sound in devices.sounds:
        yield from _pair(sound, Endpoint("sound", needs.sound(sound.model), model=sound.model))
    for controller in devices.controllers:
        if controller.type != "pci":
            yield from _pair(controller, _controller(controller, needs))
    yield from _storage_pairs(domain, needs)
    yield from _other_pairs(domain, needs)
    yield from _display_pairs(domain, needs)


def _bridge(controller: Controller, needs: Needs) -> Endpoint:
    model = controller.model or ""
    if model not in CONTROLLER_NEEDS:
        detail = "PCI controller model was not set correctly"
        raise ConfError("internal", detail, "domain/devices/controller/@model")
    plug = CONTROLLER_NEEDS[model]
    if not plug and isinstance(controller.address, PciAddress):
        plug = needs.conventional  # a root that is said to be somewhere: refused later
    return Endpoint("pci", plug, None, model, controller.index or 0)


def _controller(controller: Controller, needs: Needs) -> Endpoint:
    model = controller.model or ""
    plug = needs.controller(controller.type, model)
    if not plug and isinstance(controller.address, PciAddress):
        plug = needs.conventional  # it is not on PCI, but its address is taken
    return Endpoint(controller.type, plug, None, model, controller.index or 0)


def _storage_pairs(domain: Domain, needs: Needs) -> Iterator[Pair]:
    for disk in domain.devices.disks:
        if disk.target.bus == "virtio":
            yield from _pair(disk, Endpoint("disk", needs.virtio_device(disk.model)))
    for interface in domain.devices.interfaces:
        if interface.type == "hostdev":  # a host device first, a card second
            yield from _pair(interface, Endpoint("interface", needs.express))
    for hostdev in domain.devices.hostdevs:
        plug = Connect.NONE
        if hostdev.type == "pci" or (hostdev.type == "mdev" and hostdev.model == "vfio-pci"):
            plug = needs.express
        elif hostdev.type == "scsi_host":
            plug = needs.virtio_device(hostdev.model)
        yield from _pair(hostdev, Endpoint("hostdev", plug))


def _other_pairs(domain: Domain, needs: Needs) -> Iterator[Pair]:
    devices = domain.devices
    balloon = devices.memballoon
    if balloon is not None and balloon.model != "none":
        yield from _pair(balloon, Endpoint("memballoon", needs.virtio_device(balloon.model)))
    for rng in devices.rngs:
        yield from _pair(rng, Endpoint("rng", needs.virtio_device(rng.model)))
    for watchdog in devices.watchdogs:
        if watchdog.model == "i6300esb":
            yield from _pair(watchdog, Endpoint("watchdog", needs.conventional))
    if devices.iommu is not None and devices.iommu.model == "virtio":
        yield from _pair(devices.iommu, Endpoint("iommu", Connect.PCIE_DEVICE))


def _display_pairs(domain: Domain, needs: Needs) -> Iterator[Pair]:
    devices = domain.devices
    for number, video in enumerate(devices.videos):
        endpoint = Endpoint("video", needs.video(video.model.type), primary=number == 0)
        yield from _pair(video, endpoint)
    for shmem in devices.shmems:
        yield from _pair(shmem, Endpoint("shmem", needs.conventional))
    for item in devices.inputs:
        if item.bus == "virtio":
            yield from _pair(item, Endpoint("input", needs.virtio_device(item.model)))
    for serial in devices.serials:
        if serial.target_type == "pci-serial":
            yield from _pair(serial, Endpoint("serial", needs.conventional))
    for memory in devices.memories:
        if memory.model.startswith("virtio"):
            yield from _pair(memory, Endpoint("memory", needs.virtio))
    if devices.vsock is not None:
        yield from _pair(devices.vsock, Endpoint("vsock", needs.virtio_device(devices.vsock.model)))


def _add_bridge(domain: Domain, bridge: Bridge) -> Pair:
    controller = Controller(type="pci", index=bridge.index, model=bridge.model)
    domain.devices.controllers.append(controller)
    needs = CONTROLLER_NEEDS[bridge.model]
    return Endpoint("pci", needs, None, bridge.model, bridge.index), controller


def _write(endpoint: Endpoint, item: Addressed) -> None:
    place = endpoint.place
    if place is not None:
        item.address = PciAddress(
            domain=place.domain,
            bus=place.bus,
            slot=place.slot,
            function=place.function,
            multifunction=endpoint.multifunction,
        )


def _number_bridges(domain: Domain) -> None:
    """Set the bridges' model names, chassis, ports and bus numbers."""
    controllers = [c for c in domain.devices.controllers if c.type == "pci"]
    for controller in controllers:
        model = controller.model or ""
        if model not in BRIDGE_NAMES:
            continue
        controller.model_name = controller.model_name or BRIDGE_NAMES[model]
        target = controller.target or ControllerTarget()
        _number(controller, target, controllers)
        controller.target = target


def _number(controller: Controller, target: ControllerTarget, every: list[Controller]) -> None:
    address = controller.address
    match controller.model:
        case "pci-bridge":
            if target.chassis_nr is None:
                target.chassis_nr = controller.index
        case "pcie-root-port" | "pcie-switch-downstream-port":
            if target.chassis is None:
                target.chassis = controller.index
            if target.port is None and isinstance(address, PciAddress):
                on_root = controller.model == "pcie-root-port"
                target.port = (address.slot << 3) + address.function if on_root else address.slot
        case "pci-expander-bus" | "pcie-expander-bus":
            if target.bus_nr is None:
                target.bus_nr = _expander_bus(every)


def _expander_bus(every: list[Controller]) -> int:
    """Choose a bus number below every expander's, leaving a gap for the buses behind it."""
    taken = [c.target.bus_nr for c in every if c.target and c.target.bus_nr is not None]
    return min(taken, default=FIRST_EXPANDER_BUS) - 2
