"""PCI buses and their free slots: which device fits where, and the bridges that are missing.

Owns: the rules of what plugs into what, and the search for a free slot. Pure.
May touch: its own tables only (which device needs what: `conf.domain.addresses.pci_needs`).
May not touch: the domain model, files, the host.

A topology is used twice: a growing one finds out which bridges are missing, a fixed one then gives
the addresses (libvirt 9.0 does the same, and so bridges come before devices in the numbering).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, auto
from functools import cache
from typing import Final, NamedTuple

from conf.errors import ConfError

FUNCTIONS: Final = 8
LAST_SLOT: Final = 31
MAX_BUSES: Final = 256


class Connect(IntFlag):
    """PCI connection flags: of a device, and of the slots of a bus (virDomainPCIConnectFlags)."""

    NONE = 0
    HOTPLUG = auto()
    AGGREGATE = auto()  # functions of one slot may be shared with others of its kind
    PCI_DEVICE = auto()
    PCIE_DEVICE = auto()
    PCIE_ROOT_PORT = auto()
    PCIE_UPSTREAM_PORT = auto()
    PCIE_DOWNSTREAM_PORT = auto()
    DMI_TO_PCI_BRIDGE = auto()
    PCI_EXPANDER_BUS = auto()
    PCIE_EXPANDER_BUS = auto()
    PCI_BRIDGE = auto()
    PCIE_TO_PCI_BRIDGE = auto()


ENDPOINT: Final = Connect.PCI_DEVICE | Connect.PCIE_DEVICE
KINDS: Final = ~(Connect.HOTPLUG | Connect.AGGREGATE)


class BusKind(NamedTuple):
    """The connection flags of a bus, and its usable slots."""

    accepts: Connect
    first_slot: int
    last_slot: int


_PORT: Final = BusKind(
    Connect.PCIE_DEVICE | Connect.PCIE_UPSTREAM_PORT | Connect.PCIE_TO_PCI_BRIDGE | Connect.HOTPLUG,
    0,
    0,
)
_PCI: Final = Connect.PCI_DEVICE | Connect.PCI_BRIDGE

BUS_KINDS: Final = {
    "pci-root": BusKind(_PCI | Connect.HOTPLUG | Connect.PCI_EXPANDER_BUS, 1, LAST_SLOT),
    "pci-bridge": BusKind(_PCI | Connect.HOTPLUG, 1, LAST_SLOT),
    "pci-expander-bus": BusKind(_PCI | Connect.HOTPLUG, 0, LAST_SLOT),
    "pcie-root": BusKind(
        Connect.PCIE_DEVICE
        | Connect.PCIE_ROOT_PORT
        | Connect.DMI_TO_PCI_BRIDGE
        | Connect.PCIE_EXPANDER_BUS,
        1,
        LAST_SLOT,
    ),
    "dmi-to-pci-bridge": BusKind(_PCI, 0, LAST_SLOT),
    "pcie-to-pci-bridge": BusKind(_PCI | Connect.HOTPLUG, 1, LAST_SLOT),
    "pcie-root-port": _PORT,
    "pcie-switch-downstream-port": _PORT,
    "pcie-switch-upstream-port": BusKind(Connect.PCIE_DOWNSTREAM_PORT, 0, LAST_SLOT),
    "pcie-expander-bus": BusKind(
        Connect.PCIE_ROOT_PORT | Connect.DMI_TO_PCI_BRIDGE, 0, LAST_SLOT
    ),
}  # fmt: skip

CONTROLLER_NEEDS: Final = {
    "pci-root": Connect.NONE,
    "pcie-root": Connect.NONE,
    "pci-bridge": Connect.PCI_BRIDGE,
    "pci-expander-bus": Connect.PCI_EXPANDER_BUS,
    "dmi-to-pci-bridge": Connect.DMI_TO_PCI_BRIDGE,
    "pcie-to-pci-bridge": Connect.PCIE_TO_PCI_BRIDGE,
    "pcie-root-port": Connect.PCIE_ROOT_PORT | Connect.AGGREGATE,
    "pcie-switch-downstream-port": Connect.PCIE_DOWNSTREAM_PORT,
    "pcie-switch-upstream-port": Connect.PCIE_UPSTREAM_PORT,
    "pcie-expander-bus": Connect.PCIE_EXPANDER_BUS,
}


class Place(NamedTuple):
    """A PCI address, as in <address type='pci'>."""

    domain: int
    bus: int
    slot: int
    function: int

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@cache  # of some dozens: models times needs; each placement asks for a dozen of them
def takes(model: str, needs: Connect, *, chosen: bool) -> bool:
    """Return whether a device fits on a bus of a model; an address of the XML has fewer conditions.

    There any endpoint may sit where endpoints do, and hot plug is the user's affair.
    """
    accepts = BUS_KINDS[model].accepts
    if chosen:
        needs &= ~Connect.HOTPLUG
        if needs & ENDPOINT and accepts & ENDPOINT:
            return True
        if model == "pcie-root" and needs & Connect.PCIE_TO_PCI_BRIDGE:
            return True
    if not needs & accepts & KINDS:
        return False
    return not needs & Connect.HOTPLUG or bool(accepts & Connect.HOTPLUG)


@cache  # IntFlag's operators cost as much as the rest of a reservation
def shares_slot(needs: Connect) -> bool:
    """Return whether a device may share its slot with others of its kind."""
    return bool(needs & Connect.AGGREGATE)


@dataclass(slots=True)
class Slot:
    """The taken functions of a slot."""

    functions: int = 0  # a bit each
    shared: bool = False  # all that sit here may share it


@dataclass(slots=True)
class Bus:
    """One bus and its slots."""

    model: str
    slots: list[Slot] = field(default_factory=lambda: [Slot() for _ in range(LAST_SLOT + 1)])

    @property
    def kind(self) -> BusKind:
        """The kind of the bus, by its controller's model."""
        return BUS_KINDS[self.model]

    def find(self, needs: Connect, function: int | None) -> tuple[int, int] | None:
        """Find a free slot, or a free function where the device may share a slot."""
        kind = self.kind
        shares = shares_slot(needs)
        for number in range(kind.first_slot, kind.last_slot + 1):
            slot = self.slots[number]
            if not slot.functions:
                return number, function or 0
            if not (shares and slot.shared):
                continue
            functions = range(FUNCTIONS) if function is None else (function,)
            for candidate in functions:
                if not slot.functions & 1 << candidate:
                    return number, candidate
        return None

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        kind = self.kind
        return all(self.slots[n].functions for n in range(kind.first_slot, kind.last_slot + 1))


class Topology:
    """The buses of a machine.

    Args:
        models: the model of each bus by its index; None for an index that no controller has.
        growing: add bridges where there is no room, instead of refusing.
        pcie_bridge: whether the emulator has `pcie-pci-bridge`; else dmi-to-pci-bridge is used.
    """

    def __init__(
        self, models: list[str | None], *, growing: bool, pcie_bridge: bool = True
    ) -> None:
        self._growing = growing
        self._pcie_bridge = pcie_bridge
        root = next((model for model in models if model), "pci-root")
        self._express = root == "pcie-root"
        filler = "pcie-root-port" if self._express else "pci-bridge"
        self.buses = [Bus(model or filler) for model in models]
        # Slots only fill: a search goes on at the bus where the last one of its kind ended.
        self._first_bus: dict[tuple[Connect, int | None], int] = {}

    def is_free(self, place: Place) -> bool:
        """Return whether a function is free."""
        return not self._slot(place).functions & 1 << place.function

    def slot_is_free(self, place: Place) -> bool:
        """Return whether all functions of a slot are free."""
        return not self._slot(place).functions

    def has_other_functions(self, place: Place) -> bool:
        """Return whether functions of a slot besides function 0 are taken."""
        return self._slot(place).functions > 1

    def _slot(self, place: Place) -> Slot:
        return self.buses[place.bus].slots[place.slot]

    def reserve(self, place: Place, needs: Connect, *, chosen: bool, device: str = "") -> None:
        """Reserve an address; an absent bus is added if the topology may grow.

        Raises:
            ConfError: "xml": no such bus or slot, or the device does not fit there; "xml" too:
                it is taken.
        """
        self._check(place, needs, chosen=chosen, device=device)
        slot = self._slot(place)
        if slot.functions & 1 << place.function:
            raise ConfError(
                "xml",
                f"Attempted double use of PCI Address {place}{device}; give one of the two devices "
                "another address, or none",
            )
        shares = shares_slot(needs)
        slot.shared = shares and (slot.shared or not slot.functions)
        slot.functions |= 1 << place.function

    def _check(self, place: Place, needs: Connect, *, chosen: bool, device: str) -> None:
        if place.domain:
            raise ConfError(
                "xml", f"Invalid PCI address {place}{device}; only PCI domain 0 is available"
            )
        if self._growing:
            self._grow_to(place.bus, needs)
        if place.bus >= len(self.buses):
            last = len(self.buses) - 1
            raise ConfError(
                "xml", f"Invalid PCI address {place}{device}; bus must be <= {last:02x}"
            )
        bus = self.buses[place.bus]
        kind = bus.kind
        if not kind.first_slot <= place.slot <= kind.last_slot:
            raise ConfError(
                "xml",
                f"Invalid PCI address {place}{device}; slot must be between {kind.first_slot:02x} "
                f"and {kind.last_slot:02x} on a {bus.model}",
            )
        if place.function >= FUNCTIONS:
            raise ConfError("xml", f"Invalid PCI address {place}{device}; function must be <= 7")
        if not takes(bus.model, needs, chosen=chosen):
            raise ConfError(
                "xml",
                f"The device at PCI address {place}{device} cannot be plugged into PCI controller "
                f"with index='{place.bus}': a {bus.model} does not take it",
            )

    def next(self, needs: Connect, *, function: int | None = 0) -> Place:
        """Reserve the first fitting free address.

        Args:
            needs: what the device plugs into.
            function: the requested function; None for any that is free in a shared slot.

        Raises:
            ConfError: "internal": there is no room, nor can any be made.
        """
        for _ in range(2):
            for index in range(self._first_bus.get((needs, function), 0), len(self.buses)):
                bus = self.buses[index]
                self._first_bus[needs, function] = index
                if not takes(bus.model, needs, chosen=False):
                    continue
                free = bus.find(needs, function)
                if free is not None:
                    place = Place(0, index, *free)
                    self.reserve(place, needs, chosen=False)
                    return place
            if not self._growing:
                break
            self._grow(needs)
        raise ConfError("internal", "No more available PCI slots")

    def _grow_to(self, bus: int, needs: Connect) -> None:
        if bus >= MAX_BUSES:
            raise ConfError("xml", f"Invalid PCI bus {bus}; it must be below {MAX_BUSES}")
        while len(self.buses) <= bus:
            self._grow(needs)

    def _grow(self, needs: Connect) -> None:
        """Append the bridges that make room for a device."""
        self.buses.extend(Bus(model) for model in self._missing(needs))
        if len(self.buses) > MAX_BUSES:
            raise ConfError("internal", f"No more available PCI slots: {MAX_BUSES} buses are full")

    def _missing(self, needs: Connect) -> list[str]:
        if needs & (Connect.PCI_DEVICE | Connect.PCI_BRIDGE):
            if any(bus.kind.accepts & Connect.PCI_BRIDGE for bus in self.buses):
                return ["pci-bridge"]
            if self._pcie_bridge:
                return ["pcie-root-port", "pcie-to-pci-bridge"]
            return ["dmi-to-pci-bridge", "pci-bridge"]
        if needs & (
            Connect.PCIE_DEVICE
            | Connect.PCIE_UPSTREAM_PORT
            | Connect.PCIE_TO_PCI_BRIDGE
            | Connect.DMI_TO_PCI_BRIDGE
        ):
            return ["pcie-root-port"]
        if needs & Connect.PCIE_DOWNSTREAM_PORT:
            return ["pcie-switch-upstream-port"]
        raise ConfError(
            "internal", "No more available PCI slots, and no bridge makes room for this"
        )
