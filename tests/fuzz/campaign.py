"""`./dev fuzz [MINUTES]`: every target in turn until the time is over; findings become seeds.

Owns: the turns, and the files of findings. `python -m tests.fuzz.campaign MINUTES [TARGET …]`
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.limits import bounded_memory, bounded_time
from tests.fuzz.targets import ALL, SEEDS, Target

EXAMPLES: Final = 300  # of one target in its turn
DEFAULT_MINUTES: Final = 10.0
QUIET: Final = list(HealthCheck)


def main(arguments: list[str]) -> int:
    """Fuzz; the exit status is 1 if there was a finding."""
    logging.disable(logging.CRITICAL)
    minutes = float(arguments[0]) if arguments else DEFAULT_MINUTES
    chosen = [target for target in ALL if not arguments[1:] or target.name in arguments[1:]]
    until = time.monotonic() + minutes * 60
    findings: dict[str, Path] = {}
    count = 0
    while time.monotonic() < until:
        for target in chosen:
            if time.monotonic() >= until:
                break
            count += EXAMPLES
            found = examine(target, EXAMPLES, shrink=True)
            if found is not None and found[1] not in findings:
                findings[found[1]] = store(target, found[0])
                print(f"{target.name}: {found[1]}\n  kept as {findings[found[1]]}", flush=True)  # noqa: T201
    print(f"{count} inputs of {len(chosen)} targets, {len(findings)} findings")  # noqa: T201
    return 1 if findings else 0


def examine(target: Target, examples: int, *, shrink: bool = False) -> tuple[bytes, str] | None:
    """Run a target with random inputs.

    Returns:
        None, or the smallest input that failed and where it did.
    """
    last: list[tuple[bytes, str]] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        deadline=None,
        database=None,
        suppress_health_check=QUIET,
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(target.inputs)
    def attempt(data: bytes) -> None:
        try:
            check(target, data)
        except Exception as error:
            last.append((data, place_of(error)))
            raise

    try:
        attempt()
    except Exception:
        if not last:
            raise  # of Hypothesis itself: a strategy is wrong
        return last[-1]
    return None


def check(target: Target, data: bytes) -> None:
    """Run a target with one input, within the limits."""
    with bounded_memory(), bounded_time():
        target.run(data)


def place_of(error: BaseException) -> str:
    """Name the kind of an error and the line that raised it: two inputs may be one finding."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/site-packages/" not in frame.filename] or frames
    return f"{type(error).__name__}: {error}"[:150] + f" at {ours[-1].filename}:{ours[-1].lineno}"


def store(target: Target, data: bytes) -> Path:
    """Keep a finding as a seed, for `./dev test` to run again."""
    folder = SEEDS / target.name
    folder.mkdir(exist_ok=True)
    suffix = "xml" if data.lstrip().startswith(b"<") else "bin"
    path = folder / f"found-{hashlib.sha256(data).hexdigest()[:10]}.{suffix}"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
