"""Command lines are those of stock libvirt 9.0, document by document."""

from __future__ import annotations

from typing import Final

import pytest

from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from tests.recorded_qemu import SAME_QEMU
from tests.unit.workers.qemu.argv.argv_corpus import CORPUS, cases, first_difference
from tests.unit.workers.qemu.argv.argv_plan import plan

FLOOR: Final = 299  # of 306; the rest: firmware and host-model are chosen before planning, and
# the speaker, for which stock gives an option that QEMU 7.2 no longer has


@SAME_QEMU
@pytest.mark.skipif(not CORPUS.exists(), reason=f"no recordings at {CORPUS}")
def test_at_least_as_many_command_lines_as_before_are_those_of_stock(
    emulator_facts: EmulatorFacts,
) -> None:
    assert emulator_facts.machines
    matched = []
    for case in cases():
        try:
            launch = plan(case)
        except ConfError:
            continue
        if first_difference(case, launch.argv, dict(launch.environ)) is None:
            matched.append(case.name)
    assert len(matched) >= FLOOR
