"""Assigns a PCI address to every device of a domain, and lists the missing bridges.

Owns: the order of the search, the slots that a chipset keeps, USB companions. Pure; works on
`Endpoint`s, which `conf.domain.addresses.pci` makes from the domain and writes back.
May touch: the endpoints it is given.
May not touch: the domain model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from conf.domain.addresses.topology import (
    CONTROLLER_NEEDS,
    LAST_SLOT,
    Connect,
    Place,
    Topology,
    shares_slot,
    takes,
)
from conf.errors import ConfError

ICH9_FUNCTIONS: Final = {"ich9-ehci1": 7, "ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2}
Q35_USB_SLOTS: Final = (0x1D, 0x1A)
PIIX3_SLOT: Final = 1
ICH9_SLOT: Final = 0x1F
ICH9_FIXED_FUNCTIONS: Final = (0, 3)  # the ISA bridge and the SMBus
ICH9_SOUND_SLOT: Final = 0x1B
DMI_BRIDGE_SLOT: Final = 0x1E
SLOTS_KEPT: Final = 3  # of a pci-root: the PIIX3's, the primary video's, the one left free
VIDEO_SLOT: Final = {"i440fx": 2, "q35": 1}


@dataclass(slots=True)
class Endpoint:
    """One device on PCI, a bridge or another."""

    kind: str  # "pci" for a bridge, else the element or the controller's type
    needs: Connect
    place: Place | None = None
    model: str = ""
    index: int = 0  # of a controller
    multifunction: bool | None = None
    label: str = ""  # how a message names it
    primary: bool = False  # the first video device


@dataclass(frozen=True, slots=True)
class Board:
    """The on-board PCI devices of a machine type."""

    chipset: str  # "i440fx", "q35" or "" for one without fixed places
    root: str  # "pci-root" or "pcie-root"
    pcie_bridge: bool = True  # the emulator has pcie-pci-bridge


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge to add to the domain."""

    index: int
    model: str


def missing_bridges(board: Board, endpoints: Sequence[Endpoint]) -> list[Bridge]:
    """List the bridges that must be added before every device has an address.

    Raises:
        ConfError: an address of the XML is impossible, or no bridge makes room.
    """
    models = _bus_models(endpoints)
    if models == ["pci-root"] and _fit_on_root(endpoints):
        return []
    trial = Topology(models, growing=True, pcie_bridge=board.pcie_bridge)
    copies = [replace(endpoint) for endpoint in endpoints]
    _place_fixed(board, copies, trial)
    if board.root == "pci-root" and not all(bus.full for bus in trial.buses):
        trial.next(Connect.PCI_DEVICE | Connect.HOTPLUG)  # so that room is left for one more
    _place_remaining(copies, trial)
    if board.root == "pcie-root" and len(models) == 1 and len(trial.buses) > 1:
        trial.next(Connect.PCIE_DEVICE | Connect.HOTPLUG)  # one port stays free for hot plug
    bridges: list[Bridge] = []
    index = 1
    while index < len(trial.buses):
        model = trial.buses[index].model
        if index >= len(models) or models[index] is None:
            bridges.append(Bridge(index, model))
            trial.next(CONTROLLER_NEEDS[model], function=_any_function(model))
        index += 1
    return bridges


def _fit_on_root(endpoints: Sequence[Endpoint]) -> bool:
    """Return whether a lone pci-root surely takes every device and has room left for one more.

    Most guests need no trial: each device takes a slot at most.
    """
    if len(endpoints) > LAST_SLOT - SLOTS_KEPT:
        return False
    return all(
        takes("pci-root", endpoint.needs, chosen=False)
        and (endpoint.place is None or endpoint.place.bus == 0)
        for endpoint in endpoints
        if endpoint.needs
    )


def place_all(board: Board, endpoints: Sequence[Endpoint]) -> None:
    """Assign an address to each endpoint without one; they include every bridge.

    Raises:
        ConfError: an address of the XML is impossible.
    """
    topology = Topology(_bus_models(endpoints), growing=False, pcie_bridge=board.pcie_bridge)
    _place_fixed(board, endpoints, topology)
    _place_remaining(endpoints, topology)
    _mark_shared(endpoints, topology)


def _bus_models(endpoints: Iterable[Endpoint]) -> list[str | None]:
    models = {e.index: e.model for e in endpoints if e.kind == "pci"}
    return [models.get(index) for index in range(max(models, default=-1) + 1)]


def _any_function(model: str) -> int | None:
    return None if shares_slot(CONTROLLER_NEEDS[model]) else 0


def _place_fixed(board: Board, endpoints: Sequence[Endpoint], topology: Topology) -> None:
    """Reserve the places of the XML, then those that the chipset prescribes."""
    for endpoint in endpoints:
        if board.chipset == "i440fx" and endpoint.place == _piix3_place(endpoint):
            continue
        if endpoint.place is not None and endpoint.needs:
            label = f" of {endpoint.label}" if endpoint.label else ""
            topology.reserve(endpoint.place, endpoint.needs, chosen=True, device=label)
    if board.chipset == "i440fx":
        _place_fixed_i440fx(endpoints, topology)
    elif board.chipset == "q35":
        _place_fixed_q35(endpoints, topology)


def _piix3_place(endpoint: Endpoint) -> Place | None:
    """Return where the PIIX3 has the controller; None for one that is not its own."""
    if endpoint.index:
        return None
    if endpoint.kind == "ide":
        return Place(0, 0, PIIX3_SLOT, 1)
    if endpoint.kind == "usb" and endpoint.model == "piix3-uhci":
        return Place(0, 0, PIIX3_SLOT, 2)
    return None


def _reserve_piix3(endpoint: Endpoint, place: Place, topology: Topology) -> None:
    """Put a controller of the PIIX3 where it is."""
    name = "Primary IDE controller"
    if endpoint.kind == "usb":
        name = "PIIX3 USB controller at index 0"
    if endpoint.place not in (None, place):
        at = f"{place.domain}:{place.bus}:{place.slot}.{place.function}"
        raise ConfError("internal", f"{name} must have PCI address {at}")
    topology.reserve(place, endpoint.needs, chosen=True)
    endpoint.place = place


def _place_fixed_i440fx(endpoints: Sequence[Endpoint], topology: Topology) -> None:
    for endpoint in endpoints:
        place = _piix3_place(endpoint)
        if place is not None:
            _reserve_piix3(endpoint, place, topology)
    isa = Place(0, 0, PIIX3_SLOT, 0)
    if not topology.is_free(isa):
        raise ConfError("xml", f"PCI address {isa} is in use, QEMU needs it for its ISA bridge")
    topology.reserve(isa, Connect.PCI_DEVICE, chosen=True)
    _place_primary_video(endpoints, topology, "i440fx")


def _reserve_required(endpoint: Endpoint, place: Place, topology: Topology, name: str) -> None:
    """Put an on-board device at its fixed address."""
    if endpoint.place is None:
        topology.reserve(place, endpoint.needs, chosen=True)
        endpoint.place = place
    elif endpoint.place != place:
        raise ConfError(
            "internal", f"{name} must have PCI address {place}, but {endpoint.place} was given"
        )


def _place_primary_video(endpoints: Sequence[Endpoint], topology: Topology, chipset: str) -> None:
    video = next((e for e in endpoints if e.primary), None)
    if video is None or video.place is not None:
        return
    slot = Place(0, 0, VIDEO_SLOT[chipset], 0)
    if topology.slot_is_free(slot):
        topology.reserve(slot, video.needs, chosen=True)
        video.place = slot
    else:
        video.place = topology.next(video.needs)


def _place_fixed_q35(endpoints: Sequence[Endpoint], topology: Topology) -> None:
    for endpoint in endpoints:
        if endpoint.kind == "sata" and endpoint.index == 0:
            _reserve_required(
                endpoint, Place(0, 0, ICH9_SLOT, 2), topology, "Primary SATA controller"
            )
    _place_q35_usb(endpoints, topology)
    for endpoint in endpoints:
        if endpoint.kind == "pci" and endpoint.model == "dmi-to-pci-bridge":
            _reserve_preferred(endpoint, DMI_BRIDGE_SLOT, topology)
    for function in ICH9_FIXED_FUNCTIONS:
        topology.reserve(Place(0, 0, ICH9_SLOT, function), Connect.PCIE_DEVICE, chosen=True)
    _place_primary_video(endpoints, topology, "q35")
    for endpoint in endpoints:
        if endpoint.kind == "sound" and endpoint.model == "ich9":
            _reserve_preferred(endpoint, ICH9_SOUND_SLOT, topology)
            break


def _reserve_preferred(endpoint: Endpoint, slot: int, topology: Topology) -> None:
    """Put a device where real hardware has it, unless the address is taken."""
    place = Place(0, 0, slot, 0)
    if endpoint.place is None and topology.slot_is_free(place):
        topology.reserve(place, endpoint.needs, chosen=True)
        endpoint.place = place


def _place_q35_usb(endpoints: Sequence[Endpoint], topology: Topology) -> None:
    """Put the first two EHCI controllers, each with its companions, on the ICH9's own slots."""
    masters = [e for e in endpoints if e.kind == "usb" and e.model == "ich9-ehci1"]
    for master in masters:
        if master.place is not None:
            continue
        slot = next((n for n in Q35_USB_SLOTS if topology.slot_is_free(Place(0, 0, n, 0))), None)
        if slot is None:
            return
        for endpoint in endpoints:
            if (
                endpoint.kind == "usb"
                and endpoint.index == master.index
                and endpoint.model in ICH9_FUNCTIONS
                and endpoint.place is None
            ):
                place = Place(0, 0, slot, ICH9_FUNCTIONS[endpoint.model])
                topology.reserve(place, endpoint.needs, chosen=True)
                endpoint.place = place
                if place.function == 0:
                    endpoint.multifunction = True


def _place_remaining(endpoints: Sequence[Endpoint], topology: Topology) -> None:
    """Assign the first fitting address to the others, in libvirt's order (bridges first)."""
    for endpoint in endpoints:
        if endpoint.place is not None or not endpoint.needs:
            continue
        if endpoint.kind == "usb" and endpoint.model in ICH9_FUNCTIONS:
            _place_companion(endpoint, endpoints, topology)
        else:
            function = None if shares_slot(endpoint.needs) else 0
            endpoint.place = topology.next(endpoint.needs, function=function)


def _place_companion(endpoint: Endpoint, endpoints: Sequence[Endpoint], topology: Topology) -> None:
    """Keep EHCI and its companions in one slot."""
    function = ICH9_FUNCTIONS[endpoint.model]
    sibling = next(
        (
            other.place
            for other in endpoints
            if other is not endpoint
            and other.kind == "usb"
            and other.index == endpoint.index
            and other.model in ICH9_FUNCTIONS
            and other.place is not None
        ),
        None,
    )
    if sibling is None:
        endpoint.place = topology.next(endpoint.needs, function=function)
    else:
        place = sibling._replace(function=function)
        topology.reserve(place, endpoint.needs, chosen=True)
        endpoint.place = place
    if function == 0:
        endpoint.multifunction = True


def _mark_shared(endpoints: Sequence[Endpoint], topology: Topology) -> None:
    """Set multifunction='on' on function 0 where other functions of its slot are taken."""
    for endpoint in endpoints:
        place = endpoint.place
        if place is None or place.function or endpoint.multifunction is not None:
            continue
        if topology.has_other_functions(place):
            endpoint.multifunction = True
