"""Fixtures of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from tests import qemu_binary


@pytest.fixture(scope="session")
def emulator_facts() -> EmulatorFacts:
    """What the machine's QEMU can do (skips where there is none)."""
    if not Path(qemu_binary.BINARY).exists():
        pytest.skip(f"no {qemu_binary.BINARY}: apt-get install qemu-system-x86")
    return qemu_binary.facts()
