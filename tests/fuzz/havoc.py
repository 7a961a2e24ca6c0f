"""Many inputs quickly: a target's inputs with bytes changed, without Hypothesis's bookkeeping.

    python -m tests.fuzz.havoc COUNT SEED TARGET [TARGET …]

Owns: the pool of inputs to start from, and the files of findings.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.campaign import check, place_of, store
from tests.fuzz.limits import data_size
from tests.fuzz.targets import ALL, Target

POOL: Final = 400  # inputs that Hypothesis makes
EDGES: Final = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\0")
SETTLED: Final = 10_000  # inputs after which memory should grow no more


def pool(target: Target, number: int, size: int = POOL) -> list[bytes]:
    """Make inputs of a target's own form, the same for a number, and add its seeds."""
    made: list[bytes] = [path.read_bytes() for path in target.seeds()]

    @seed(number)
    @settings(
        max_examples=size,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def collect(data: bytes) -> None:
        made.append(data)

    collect()
    return made


def havoc(data: bytes, other: bytes, random: Random) -> bytes:
    """Change an input in a few places, or put a part of another in."""
    bent = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 2, 4, 8))):
        place = random.randrange(len(bent) + 1)
        match random.randrange(5):
            case 0 if bent:
                bent[place % len(bent)] ^= 1 << random.randrange(8)
            case 1:
                del bent[place : place + random.randrange(1, 9)]
            case 2:
                start = random.randrange(len(other) + 1)
                bent[place:place] = other[start : start + random.randrange(1, 33)]
            case 3:
                edge = random.choice(EDGES)
                bent[place : place + len(edge)] = edge
            case _:
                bent[place:place] = random.randbytes(random.randrange(1, 9))
    return bytes(bent)


def variants(inputs: list[bytes], number: int) -> Iterator[bytes]:
    """Make inputs of others without end, the same for a number."""
    random = Random(number)
    while True:
        yield havoc(random.choice(inputs), random.choice(inputs), random)


def fuzz(target: Target, count: int, number: int) -> int:
    """Run a target with many inputs; how many findings."""
    made = variants(pool(target, number), number)
    findings: set[str] = set()
    settled, began = 0, time.monotonic()
    for done in range(count):
        data = next(made)
        try:
            check(target, data)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
            place = place_of(error)
            if place not in findings:
                findings.add(place)
                sys.stdout.write(f"{target.name}: {place}\n  kept as {store(target, data)}\n")
                sys.stdout.flush()
        if done == min(SETTLED, count // 2):
            settled = data_size()
    rate = count / (time.monotonic() - began)
    growth = (data_size() - settled) >> 10
    sys.stdout.write(
        f"{target.name}: {count} inputs, {rate:.0f}/s, {len(findings)} findings, "
        f"memory {growth:+d} KiB after the first {min(SETTLED, count // 2)}\n"
    )
    sys.stdout.flush()
    return len(findings)


def main(words: list[str]) -> int:
    """Fuzz; the exit status is 1 if there was a finding."""
    logging.disable(logging.CRITICAL)
    count, number = int(words[0]), int(words[1])
    by_name = {target.name: target for target in reversed(ALL)}
    return int(any([fuzz(by_name[name], count, number) for name in words[2:]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
