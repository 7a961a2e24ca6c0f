"""Where PCI devices land, and which bridges are added for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain.addresses import placement
from conf.domain.addresses.pci_needs import Needs
from conf.domain.addresses.placement import Board, Bridge, Endpoint, missing_bridges, place_all
from conf.domain.addresses.topology import CONTROLLER_NEEDS, Connect, Place
from conf.errors import ConfError

I440FX = Board("i440fx", "pci-root")
Q35 = Board("q35", "pcie-root")
OLD_Q35 = Board("q35", "pcie-root", pcie_bridge=False)
PCI = Needs.of("pci-root").conventional
LEGACY = Needs.of("pcie-root").conventional
EXPRESS = Needs.of("pcie-root").express


def bridge(index: int, model: str, place: Place | None = None) -> Endpoint:
    return Endpoint("pci", CONTROLLER_NEEDS[model], place, model, index)


def settle(board: Board, devices: list[Endpoint]) -> list[Endpoint]:
    """All endpoints, the bridges that had to be added included."""
    root = Endpoint("pci", Connect.NONE, None, board.root, 0)
    result = [e for e in devices if e.kind == "pci"]
    rest = [e for e in devices if e.kind != "pci"]
    added = [bridge(b.index, b.model) for b in missing_bridges(board, [root, *result, *rest])]
    everything = [*result, *added, *rest]
    place_all(board, [root, *everything])
    return everything


def places(endpoints: list[Endpoint]) -> list[str]:
    return [str(e.place)[5:] for e in endpoints]


def test_an_i440fx_keeps_slot_1_for_its_own_and_slot_2_for_the_screen() -> None:
    devices = [
        Endpoint("interface", PCI),
        Endpoint("ide", PCI, index=0),
        Endpoint("usb", PCI, model="piix3-uhci", index=0),
        Endpoint("video", PCI, model="cirrus", primary=True),
    ]
    assert places(settle(I440FX, devices)) == ["00:03.0", "00:01.1", "00:01.2", "00:02.0"]


def test_without_a_screen_its_slot_is_for_anyone() -> None:
    assert places(settle(I440FX, [Endpoint("interface", PCI)])) == ["00:02.0"]


def test_express_devices_get_a_port_each_and_one_port_stays_free() -> None:
    devices = [Endpoint("interface", EXPRESS), Endpoint("memballoon", EXPRESS)]
    result = settle(Q35, devices)
    assert [(e.kind, e.index) for e in result] == [
        ("pci", 1), ("pci", 2), ("pci", 3), ("interface", 0), ("memballoon", 0),
    ]  # fmt: skip
    assert places(result) == ["00:01.0", "00:01.1", "00:01.2", "01:00.0", "02:00.0"]
    assert [e.multifunction for e in result] == [True, None, None, None, None]


def test_no_port_is_added_to_bridges_that_the_user_chose() -> None:
    devices = [bridge(1, "pcie-root-port"), Endpoint("interface", EXPRESS)]
    result = settle(Q35, devices)
    assert places(result) == ["00:01.0", "01:00.0"]
    assert result[0].multifunction is None


def test_a_legacy_card_on_q35_gets_a_bridge_on_a_port() -> None:
    root = Endpoint("pci", Connect.NONE, None, "pcie-root", 0)
    assert missing_bridges(Q35, [root, Endpoint("interface", LEGACY)])[:2] == [
        Bridge(1, "pcie-root-port"),
        Bridge(2, "pcie-to-pci-bridge"),
    ]
    old = missing_bridges(OLD_Q35, [root, Endpoint("interface", LEGACY)])[:2]
    assert old == [Bridge(1, "dmi-to-pci-bridge"), Bridge(2, "pci-bridge")]


def test_an_address_beyond_the_last_bus_brings_its_bridges() -> None:
    devices = [Endpoint("memballoon", PCI, Place(0, 7, 6, 0))]
    result = settle(I440FX, devices)
    assert [(e.model, e.index) for e in result[:-1]] == [("pci-bridge", n) for n in range(1, 8)]
    assert places(result)[-1] == "07:06.0"


def test_usb2_and_its_companions_share_a_slot() -> None:
    models = ("ich9-uhci3", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2")
    devices = [Endpoint("usb", PCI, model=model, index=0) for model in models]
    result = settle(I440FX, devices)
    assert places(result) == ["00:02.2", "00:02.7", "00:02.0", "00:02.1"]
    assert [e.multifunction for e in result] == [None, None, True, None]


def test_two_devices_at_one_address_are_refused() -> None:
    place = Place(0, 0, 5, 0)
    with pytest.raises(ConfError, match="double use of PCI Address 0000:00:05"):
        settle(I440FX, [Endpoint("a", PCI, place), Endpoint("b", PCI, place)])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(1, 0, 5, 0), "only PCI domain 0"),
        (Place(0, 0, 0, 0), "slot must be between 01 and 1f"),
        (Place(0, 0, 32, 0), "slot must be between"),
        (Place(0, 0, 5, 8), "function must be <= 7"),
        (Place(0, 256, 5, 0), "Invalid PCI bus 256"),
    ],
)
def test_an_impossible_address_is_refused(place: Place, message: str) -> None:
    with pytest.raises(ConfError, match=message):
        settle(I440FX, [Endpoint("a", PCI, place)])


def test_the_first_ide_controller_is_where_it_is_soldered() -> None:
    with pytest.raises(ConfError, match="Primary IDE controller must have PCI address"):
        settle(I440FX, [Endpoint("ide", PCI, Place(0, 0, 9, 0))])


@given(st.integers(0, 90), st.integers(0, 40), st.sampled_from([Q35, OLD_Q35]))
def test_any_number_of_devices_finds_places_of_their_own(
    express: int, legacy: int, board: Board
) -> None:
    devices = [Endpoint("x", EXPRESS) for _ in range(express)]
    devices += [Endpoint("l", LEGACY) for _ in range(legacy)]
    result = [e.place for e in settle(board, devices)]
    assert None not in result
    assert len(set(result)) == len(result)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PCI, EXPRESS, LEGACY, CONTROLLER_NEEDS["pci-bridge"]]),
            st.none()
            | st.builds(Place, st.just(0), st.integers(0, 2), st.integers(0, 32), st.just(0)),
        ),
        max_size=34,
    )
)
def test_bridges_found_without_a_trial_are_those_of_the_trial(
    devices: list[tuple[Connect, Place | None]],
) -> None:
    def bridges(slots_kept: int) -> list[Bridge] | str:
        root = Endpoint("pci", Connect.NONE, None, "pci-root", 0)
        endpoints = [root, *(Endpoint("interface", needs, place) for needs, place in devices)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(placement, "SLOTS_KEPT", slots_kept)
            try:
                added = missing_bridges(I440FX, endpoints)
            except ConfError as error:
                return str(error)
            return added

    def whole(slots_kept: int) -> object:
        found = bridges(slots_kept)
        if isinstance(found, str):
            return found
        root = Endpoint("pci", Connect.NONE, None, "pci-root", 0)
        added = [bridge(b.index, b.model) for b in found]
        endpoints = [root, *added, *(Endpoint("interface", *device) for device in devices)]
        try:
            place_all(I440FX, endpoints)
        except ConfError as error:
            return str(error)
        return places([e for e in endpoints if e.place])

    assert whole(placement.SLOTS_KEPT) == whole(99)  # with 99 kept there is always a trial
