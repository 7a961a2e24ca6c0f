"""What virtvisorctl asks systemd-machined before libvirt's daemon comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from supervisor.ctl import machines
from supervisor.runtime.system_bus import MACHINE1
from tests.unit.authd.polkit_under_test import system_bus
from tests.unit.workers.cgroups.systemd_under_test import systemd


@pytest.fixture(autouse=True)
def is_a_host_of_systemd_and_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "BOOTED", tmp_path)
    monkeypatch.setattr(machines, "UNIFIED", tmp_path)


async def ask(folder: Path, error: str, *, machined: bool = True) -> frozenset[int]:
    async with system_bus(folder), systemd(machined=machined) as service:
        service.refuses = error
        return await asyncio.to_thread(machines.unknown_guests, [77])


@pytest.mark.parametrize(("error", "unknown"), [("", set()), (f"{MACHINE1}.NoMachineForPID", {77})])
def test_a_guest_is_unknown_if_machined_says_so(
    tmp_path: Path, error: str, unknown: set[int]
) -> None:
    assert asyncio.run(ask(tmp_path, error)) == unknown


def test_without_machined_no_guest_is_unknown(tmp_path: Path) -> None:
    assert not asyncio.run(ask(tmp_path, "", machined=False))


def test_without_a_bus_or_with_version_1_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert not machines.unknown_guests([77])
    monkeypatch.setattr(machines, "UNIFIED", tmp_path / "none")
    assert not asyncio.run(ask(tmp_path, f"{MACHINE1}.NoMachineForPID"))
