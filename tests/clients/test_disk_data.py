"""The bytes of a disk are what a model says, through snapshots, block jobs, deaths and power-offs.

The seed of a failure is in its name: `python -m tests.clients.disk_sequences` repeats it, and runs
as many as are asked for.
"""

from __future__ import annotations

import shutil

import pytest

from tests.clients.daemon import Daemon
from tests.clients.disk_sequences import run_sequence

pytestmark = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io is not installed")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_byte_is_lost(daemon: Daemon, seed: int) -> None:
    run_sequence(daemon, seed, steps=14)
