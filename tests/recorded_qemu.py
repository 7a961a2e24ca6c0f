"""Whether this host's QEMU is the one that the answers beside the checkout were recorded with.

May touch: nothing; the emulator is probed as for `emulator_facts`.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests import qemu_binary

RECORDED: Final = (7, 2)  # Debian 12's

#: For tests that compare with those answers what depends on the emulator: machine types, CPUs and
#: options are others with another QEMU, and a test that cannot hold there is no skipped one.
SAME_QEMU: Final = pytest.mark.xfail(
    qemu_binary.exists() and qemu_binary.facts().version[:2] != RECORDED,
    reason="the answers were recorded with QEMU 7.2, and this host has another",
    run=False,
)
