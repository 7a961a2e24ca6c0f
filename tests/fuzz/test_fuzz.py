"""Hostile input is refused by name, in bounded time and memory: findings, and a short search."""

from __future__ import annotations

import shutil
from itertools import islice
from typing import Final

import pytest

from tests import qemu_binary
from tests.fuzz.campaign import check, examine
from tests.fuzz.documents import emulator
from tests.fuzz.havoc import pool, variants
from tests.fuzz.targets import ALL, TARGETS, Target

EXAMPLES: Final = 12
#: What hostile clients reach, with or without a password; the same inputs each time.
FRONT_DOOR: Final = ("tls", "sasl", "session", "frames", "calls")
SEED: Final = 16
POOL: Final = 50
SLICE: Final = 600
#: Whose inputs are made with what this machine's QEMU can do.
NEED_QEMU: Final = ("domain", "device", "metadata")


@pytest.fixture(autouse=True)
def needed_programs(request: pytest.FixtureRequest) -> None:
    target = request.getfixturevalue("target")
    if target.name == "sasl" and shutil.which("saslpasswd2") is None:
        pytest.skip("no saslpasswd2: apt-get install sasl2-bin libsasl2-modules")
    if target.name in NEED_QEMU:
        if not qemu_binary.exists():
            pytest.skip(f"no {qemu_binary.BINARY}: apt-get install qemu-system-x86")
        emulator()  # a QEMU that is probed needs more memory than an input may take


@pytest.mark.parametrize("target", ALL[: len(TARGETS) + 2], ids=lambda target: target.name)
def test_what_was_found_once_is_not_found_again(target: Target) -> None:
    for path in target.seeds():
        check(target, path.read_bytes())


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_random_input_is_read_or_refused(target: Target) -> None:
    found = examine(target, EXAMPLES)
    assert found is None, f"{found}: run ./dev fuzz, which keeps a small one as a seed"


@pytest.mark.parametrize(
    "target", [each for each in TARGETS if each.name in FRONT_DOOR], ids=lambda target: target.name
)
def test_a_hostile_client_breaks_nothing(target: Target) -> None:
    for data in islice(variants(pool(target, SEED, POOL), SEED), SLICE):
        check(target, data)
