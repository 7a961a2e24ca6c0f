"""The facts of the machine's own QEMU, for tests: probed once, kept in a cache folder of the user.

`from emulator import BINARY, facts` works in every test (tests/conftest.py puts this folder on the
path), in scripts after `sys.path.insert(0, "tests")`; fixture `emulator_facts` skips without QEMU.
"""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from pathlib import Path
from typing import Final

from conf.emulator import EmulatorFacts
from supervisor.hostd.emulator.probe import probe

BINARY: Final = "/usr/bin/qemu-system-x86_64"


@functools.cache
def facts(binary: str = BINARY) -> EmulatorFacts:
    """What the machine's QEMU can do; the probe's own cache makes a second run fast."""
    cache = Path(tempfile.gettempdir()) / f"virtvisor-tests-{os.getuid()}" / "capabilities"
    return asyncio.run(probe(binary, cache))


def exists() -> bool:
    """Return whether the machine has this QEMU."""
    return Path(BINARY).exists()
