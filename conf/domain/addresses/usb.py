"""USB addresses of a domain.

Owns: the order in which USB devices are served, and the hubs that are added.
May touch: addresses of the domain, and its list of hubs.
May not touch: anything else of the domain. Which port is free: `usb_ports`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from conf.domain.addresses.usb_ports import (
    CONTROLLER_PORTS,
    HUB_PORTS,
    UsbPorts,
    format_port,
    parse_port,
)
from conf.domain.devices.address import Address, UsbAddress
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.devices.disk import Disk
from conf.domain.devices.hub import Hub
from conf.domain.model import Domain
from conf.errors import ConfError

COMPANIONS: Final = frozenset({"ich9-uhci1", "ich9-uhci2", "ich9-uhci3"})


class Addressed(Protocol):
    """A device that has an address."""

    address: Address | None


def assign(domain: Domain) -> None:
    """Assign a port to every USB device, adding hubs where ports run out.

    Raises:
        ConfError: a port of the XML is impossible or taken, or there is no room.
    """
    ports = UsbPorts()
    for controller in domain.devices.controllers:
        if controller.type != "usb" or controller.master_port is not None:
            continue
        if controller.model in COMPANIONS or controller.model == "none":
            continue
        count = controller.ports or CONTROLLER_PORTS.get(controller.model or "", 2)
        ports.add_controller(controller.index or 0, count)
    if not ports.any:
        return
    _reserve(domain, ports)
    _add_hubs(domain, ports)
    for hub in domain.devices.hubs:
        if (where := _wanted(hub)) is not None:
            bus, port = ports.free(where[0])
            ports.reserve_hub(bus, port)
            hub.address = UsbAddress(bus=bus, port=format_port(port))
    for item in _devices(domain):
        if (where := _wanted(item)) is not None:
            bus, port = ports.free(where[0])
            ports.reserve(bus, port)
            item.address = UsbAddress(bus=bus, port=format_port(port))


def _wanted(item: Addressed) -> tuple[int | None] | None:
    """Choose the bus for a device without a port: (None,) for any; None if it has its port."""
    match item.address:
        case None:
            return (None,)
        case UsbAddress(port=None) as address:
            return (address.bus,)
        case UsbAddress():
            return None
        case _ if isinstance(item, Disk | CharDevice | Controller):
            return None  # is refused with the checks of its kind
        case _:
            raise ConfError("xml", "Invalid address for a USB device", "address/@type")


def _reserve(domain: Domain, ports: UsbPorts) -> None:
    """Reserve the ports of the XML, hubs first and from the root outwards."""
    address_port = [
        (hub.address.bus, parse_port(hub.address.port))
        for hub in domain.devices.hubs
        if isinstance(hub.address, UsbAddress) and hub.address.port
    ]
    for bus, port in sorted(address_port, key=lambda place: len(place[1])):
        ports.reserve_hub(bus, port)
    for item in _devices(domain):
        if isinstance(item.address, UsbAddress) and item.address.port:
            ports.reserve(item.address.bus, parse_port(item.address.port))


def _add_hubs(domain: Domain, ports: UsbPorts) -> None:
    """Add hubs until there is a port for every device."""
    hubs = [hub for hub in domain.devices.hubs if _wanted(hub) is not None]
    required = sum(1 for _ in _devices(domain)) + len(domain.devices.hubs)
    available = ports.total() + len(hubs) * HUB_PORTS
    while required > available:
        domain.devices.hubs.append(Hub(type="usb"))
        required += 1
        available += HUB_PORTS


def _devices(domain: Domain) -> Iterator[Addressed]:
    """List every USB device but hubs, in libvirt's order of assignment."""
    devices = domain.devices
    yield from (item for item in devices.hostdevs if item.type == "usb")
    yield from (item for item in devices.disks if item.target.bus == "usb")
    yield from (item for item in devices.controllers if item.type == "ccid")
    yield from (item for item in devices.inputs if item.bus == "usb")
    yield from (item for item in devices.sounds if item.model == "usb")
    yield from (item for item in devices.serials if item.target_type == "usb-serial")
    yield from (item for item in devices.redirdevs if item.bus == "usb")
