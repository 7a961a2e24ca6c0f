"""The USB ports of a machine: a tree of controllers and hubs.

Owns: which ports exist and which are taken. Pure.
May touch: its own tables only.
May not touch: the domain model (`conf.domain.addresses.usb` reads and writes it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from conf.errors import ConfError

HUB_PORTS: Final = 8
MAX_DEPTH: Final = 4  # hubs between a controller and a device: <address port='1.2.3.4'/>
CONTROLLER_PORTS: Final = {
    "piix3-uhci": 2,
    "piix4-uhci": 2,
    "vt82c686b-uhci": 2,
    "ehci": 6,
    "ich9-ehci1": 6,
    "ich9-uhci1": 2,
    "ich9-uhci2": 2,
    "ich9-uhci3": 2,
    "pci-ohci": 3,
    "nec-xhci": 4,
    "qemu-xhci": 4,
    "qusb1": 0,
    "qusb2": 0,
}

Port = tuple[int, ...]  # 1.3 is (1, 3): port 3 of the hub in port 1


@dataclass(slots=True)
class Hub:
    """A controller's root hub, or a hub."""

    size: int
    taken: set[int] = field(default_factory=set)
    hubs: dict[int, Hub] = field(default_factory=dict)

    def free_port(self, depth: int = 1) -> Port | None:
        """Find the first free port here, else below a hub plugged in here."""
        for number in range(1, self.size + 1):
            if number not in self.taken:
                return (number,)
        if depth >= MAX_DEPTH:
            return None
        for number, hub in sorted(self.hubs.items()):
            below = hub.free_port(depth + 1)
            if below is not None:
                return (number, *below)
        return None

    def count(self) -> int:
        """Count the ports here and below."""
        return self.size + sum(hub.count() for hub in self.hubs.values())


def parse_port(text: str) -> Port:
    """Parse a port such as "1.3".

    Raises:
        ConfError: "internal".
    """
    numbers = tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))
    if not 1 <= len(numbers) <= MAX_DEPTH or 0 in numbers:
        raise ConfError("internal", "Cannot parse <address> 'port' attribute", "address/@port")
    return numbers


def format_port(port: Port) -> str:
    """Format a port as in <address port='1.3'/>."""
    return ".".join(str(number) for number in port)


class UsbPorts:
    """All buses, by the index of their controller."""

    def __init__(self) -> None:
        self._buses: dict[int, Hub] = {}

    def add_controller(self, index: int, ports: int) -> None:
        """Add a controller's bus.

        Raises:
            ConfError: "xml": there already is one of that index.
        """
        if index in self._buses:
            raise ConfError("xml", f"Duplicate USB controllers with index {index}")
        self._buses[index] = Hub(ports)

    @property
    def any(self) -> bool:
        """Whether there is a USB bus at all."""
        return bool(self._buses)

    def total(self) -> int:
        """Count the ports of all controllers."""
        return sum(hub.count() for hub in self._buses.values())

    def _parent(self, bus: int, port: Port) -> Hub:
        hub = self._buses.get(bus)
        if hub is None:
            raise ConfError("xml", f"Missing USB bus {bus}; add a controller with that index")
        for depth, number in enumerate(port[:-1], start=1):
            below = hub.hubs.get(number)
            if below is None:
                above = format_port(port[:depth])
                raise ConfError("xml", f"there is no hub at port {above} in USB bus {bus}")
            hub = below
        return hub

    def reserve(self, bus: int, port: Port) -> None:
        """Reserve the port of an address.

        Raises:
            ConfError: "xml": no such bus, hub or port, or it is taken.
        """
        hub = self._parent(bus, port)
        number = port[-1]
        if number > hub.size:
            raise ConfError(
                "xml",
                f"requested USB port {format_port(port)} not present on USB bus {bus}; "
                f"there are {hub.size} ports",
            )
        if number in hub.taken:
            raise ConfError("xml", f"Duplicate USB address bus {bus} port {format_port(port)}")
        hub.taken.add(number)

    def reserve_hub(self, bus: int, port: Port) -> None:
        """Reserve a port for a hub, and add the hub's own ports."""
        self.reserve(bus, port)
        self._parent(bus, port).hubs[port[-1]] = Hub(HUB_PORTS)

    def free(self, bus: int | None) -> tuple[int, Port]:
        """Find the first free port, on the bus if the address has one.

        Raises:
            ConfError: "internal": every port is taken.
        """
        buses = sorted(self._buses) if bus is None else [bus]
        for index in buses:
            hub = self._buses.get(index)
            if hub is None:
                raise ConfError("xml", f"Missing USB bus {index}; add a controller with that index")
            port = hub.free_port()
            if port is not None:
                return index, port
        where = "" if bus is None else f" on bus {bus}"
        raise ConfError("internal", f"No free USB ports{where}; add a controller or a hub")
