"""Debian 13 beside the release that this machine has: Python 3.13, QEMU 10, its clients.

The system is made by debootstrap once and kept in `.cache/`; where it cannot be made these tests
fail and say why. The measured answers beside the checkout are of Debian 12's QEMU and not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.integration.debian.release import Release

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a Debian system is made by root alone")
UNIT_S: Final = 900
CLIENTS_S: Final = 600
#: Stock clients and real guests: what differs between the releases' QEMU and libvirt.
CLIENTS: Final = (
    "test_domain_life.py",
    "test_device_changes.py",
    "test_chardev_hotplug.py",
    "test_device_kinds.py",
    "test_networks.py",
)
STRICT_QEMU: Final = Path(__file__).parent / "debian/strict-qemu"


@pytest.fixture(scope="module")
def trixie() -> Release:
    """Debian 13, with the project set up in it as by a user."""
    release = Release("trixie")
    release.make()
    return release


def run_tests(
    release: Release, words: list[str], timeout_s: float, qemu: Path | None = None
) -> None:
    """Run pytest inside; no test may fail there, and what it printed is told if one does."""
    pytest_there = [".venv/bin/pytest", "-p", "no:cacheprovider", "--tb=short", *words]
    done = release.run(pytest_there, timeout_s, qemu=qemu)
    assert done.status == 0, f"in Debian {release.suite}:\n{done.output}"


def test_the_unit_tests_pass_on_debian_13(trixie: Release) -> None:
    run_tests(trixie, ["tests/unit"], UNIT_S)


@pytest.mark.parametrize("module", CLIENTS)
def test_clients_and_guests_of_debian_13(trixie: Release, module: str) -> None:
    run_tests(trixie, ["--strict-skips", f"tests/clients/{module}"], CLIENTS_S)


@pytest.mark.parametrize("module", ["test_device_kinds.py", "test_device_changes.py"])
def test_nothing_that_qemu_calls_deprecated_is_used(trixie: Release, module: str) -> None:
    words = ["--strict-skips", f"tests/clients/{module}"]
    run_tests(trixie, words, CLIENTS_S, qemu=STRICT_QEMU)
