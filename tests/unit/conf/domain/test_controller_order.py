"""Order and numbers of controllers, also of thousands; the search for their PCI slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain.addresses.topology import Bus, Connect, Topology
from conf.domain.devices.controller import Controller
from conf.domain.devices.controller_order import insert_controller, order_controllers

INDEXES = st.one_of(st.none(), st.integers(0, 5))
DOCUMENTS = st.lists(st.tuples(st.sampled_from(["scsi", "sata", "usb"]), INDEXES), max_size=12)


def controllers(document: list[tuple[str, int | None]]) -> list[Controller]:
    return [Controller(type=kind, index=index) for kind, index in document]


@given(DOCUMENTS)
def test_ordering_is_inserting_one_after_another(document: list[tuple[str, int | None]]) -> None:
    inserted: list[Controller] = []
    for controller in controllers(document):
        insert_controller(inserted, controller)
    ordered = controllers(document)
    order_controllers(ordered)
    assert [item.type for item in ordered] == [item.type for item in inserted]
    for before, after in zip(inserted, ordered, strict=True):
        assert before.index in (None, after.index)


@given(DOCUMENTS)
def test_a_controller_without_a_number_gets_the_first_free_one(
    document: list[tuple[str, int | None]],
) -> None:
    ordered = controllers(document)
    order_controllers(ordered)
    for kind in ("scsi", "sata", "usb"):
        given_numbers = {index for other, index in document if other == kind and index is not None}
        numbers = {item.index for item in ordered if item.type == kind}
        count = sum(other == kind and index is None for other, index in document)
        free = [number for number in range(20) if number not in given_numbers][:count]
        assert numbers == given_numbers | set(free)


def test_the_search_for_a_slot_does_not_begin_anew_for_each_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = 0
    find = Bus.find

    def counted(bus: Bus, needs: Connect, function: int | None) -> tuple[int, int] | None:
        nonlocal searched
        searched += 1
        return find(bus, needs, function)

    topology = Topology(["pci-root"], growing=True)
    devices = 2000
    monkeypatch.setattr(Bus, "find", counted)
    for _ in range(devices):
        topology.next(Connect.PCI_DEVICE | Connect.HOTPLUG)
    assert searched < 2 * devices
