"""Fixtures of all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import emulator

from conf.emulator import EmulatorFacts


@pytest.fixture(scope="session")
def emulator_facts() -> EmulatorFacts:
    """What the machine's QEMU can do (skips where there is none)."""
    if not Path(emulator.BINARY).exists():
        pytest.skip(f"no {emulator.BINARY}: apt-get install qemu-system-x86")
    return emulator.facts()
