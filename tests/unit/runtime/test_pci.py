"""PCI devices change their drivers, and are the host's again whatever fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain.devices.address import PciAddress
from rpc.errors import ErrorCode, VirError
from supervisor.runtime.pci import (
    PciDevice,
    bind,
    has_vfio,
    plan_release,
    release,
    require_device,
    reset,
)
from tests.unit.runtime.pci_under_test import PciBus

CARD = "0000:03:00.1"


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PciBus:
    return PciBus(tmp_path, monkeypatch)


def test_an_address_is_a_device() -> None:
    assert PciDevice.at(PciAddress(domain=0, bus=3, slot=0, function=1)).address == CARD


def test_a_device_goes_to_vfio_and_back_to_its_driver(bus: PciBus) -> None:
    card = bus.add(CARD, "e1000e")
    bind(card)
    assert (card.driver, card.override) == ("vfio-pci", "vfio-pci")
    # First of all the kernel is told that no other driver may take it.
    assert bus.writes == [
        ("driver_override", "vfio-pci"),
        ("unbind", CARD),
        ("drivers_probe", CARD),
    ]
    release(card)
    assert (card.driver, card.override) == ("e1000e", "")


def test_a_device_without_a_driver_goes_to_vfio_and_back_to_none(bus: PciBus) -> None:
    card = bus.add(CARD)
    bind(card)
    assert card.driver == "vfio-pci"
    release(card)
    assert (card.driver, card.override) == ("", "")


def test_what_the_host_has_already_is_left_alone(bus: PciBus) -> None:
    card = bus.add(CARD, "e1000e")
    release(card)
    assert bus.writes == []


def test_what_vfio_has_already_is_left_alone(bus: PciBus) -> None:
    card = bus.add(CARD, "vfio-pci")
    bind(card)
    assert bus.writes == []


def test_a_binding_that_was_interrupted_is_undone(bus: PciBus) -> None:
    card = bus.add(CARD, "e1000e")
    bus.write(str(card.folder / "driver_override"), "vfio-pci")
    bus.write(str(card.folder / "driver/unbind"), CARD)
    release(card)
    assert (card.driver, card.override) == ("e1000e", "")


def test_a_device_that_only_was_to_be_anothers_is_not_taken_from_nobody(bus: PciBus) -> None:
    assert plan_release(PciDevice(CARD, bus.path), driver="", override="") == []


def test_a_device_that_vfio_refuses_is_the_hosts_again(bus: PciBus) -> None:
    card = bus.add(CARD, "e1000e")
    bus.vfio_takes = False
    with pytest.raises(VirError, match="Failed to bind PCI device"):
        bind(card)
    assert (card.driver, card.override) == ("e1000e", "")


def test_without_the_module_the_error_says_what_to_do(bus: PciBus) -> None:
    card = bus.add(CARD, "e1000e")
    (bus.path / "drivers/vfio-pci").rmdir()
    with pytest.raises(VirError, match="modprobe vfio-pci"):
        bind(card)
    assert bus.writes == []


def test_a_group_has_all_that_the_iommu_cannot_tell_apart(bus: PciBus) -> None:
    card = bus.add(CARD, group="7")
    bus.add("0000:03:00.0", group="7")
    assert card.group == "7"
    assert card.group_addresses == ["0000:03:00.0", CARD]
    assert bus.add("0000:04:00.0").group_addresses == ["0000:04:00.0"]


@pytest.mark.parametrize("header", [0x01, 0x81])
def test_a_bridge_is_no_guests(bus: PciBus, header: int) -> None:
    with pytest.raises(VirError) as refused:
        require_device(bus.add(CARD, header=header))
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED


def test_one_of_several_functions_may_be_a_guests(bus: PciBus) -> None:
    require_device(bus.add(CARD, header=0x80))


def test_a_device_that_is_not_there_is_named(bus: PciBus) -> None:
    with pytest.raises(VirError, match=CARD):
        require_device(PciDevice(CARD, bus.path))


def test_what_cannot_be_reset_is_said(bus: PciBus) -> None:
    with pytest.raises(VirError, match="no FLR, PM reset or bus reset available"):
        reset(bus.add(CARD, "e1000e"))
    reset(bus.add("0000:04:00.0", "vfio-pci"))  # vfio does it


def test_passthrough_takes_an_iommu_and_vfio(tmp_path: Path) -> None:
    groups, container = tmp_path / "groups", tmp_path / "vfio"
    assert not has_vfio(groups, container)
    (groups / "0").mkdir(parents=True)
    assert not has_vfio(groups, container)
    container.touch()
    assert has_vfio(groups, container)
