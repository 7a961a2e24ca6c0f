"""Prints where planned command lines differ from those of stock; names narrow it down."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

from conf.errors import ConfError
from tests.unit.workers.qemu.argv.argv_corpus import cases, first_difference
from tests.unit.workers.qemu.argv.argv_plan import plan


def main(expected: list[str]) -> None:
    """Print the first difference of each document, then the count."""
    matched = total = 0
    for case in cases():
        if expected and case.name not in expected:
            continue
        total += 1
        try:
            launch = plan(case)
            difference = first_difference(case, launch.argv, dict(launch.environ))
        except ConfError as error:
            difference = f"{error.kind}: {error.message}"
        if difference is None:
            matched += 1
        else:
            sys.stdout.write(f"{case.name}: {difference}\n")
    sys.stdout.write(f"{matched} of {total}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
