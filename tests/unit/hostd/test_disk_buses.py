"""Disk buses in the domain capabilities."""

from __future__ import annotations

import pytest

from conf.emulator import EmulatorFacts
from supervisor.hostd.capabilities.domain import disk_buses


@pytest.mark.parametrize(
    ("machine", "has_ide"),
    [("pc-i440fx-7.2", True), ("isapc", True), ("pc-q35-7.2", False), ("microvm", False)],
)
def test_ide_is_offered_where_the_board_has_it(
    machine: str, has_ide: bool, emulator_facts: EmulatorFacts
) -> None:
    buses = disk_buses(emulator_facts, machine)
    assert ("ide" in buses) == has_ide
    assert "virtio" in buses
