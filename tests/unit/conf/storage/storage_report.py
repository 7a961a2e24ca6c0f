"""Where our pools, volumes and secrets differ from stock's.

    .venv/bin/python tests/unit/conf/storage/storage_report.py [NAME...]

Prints the difference of each document, then how many of each category are equal.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.unit.conf.storage import storage_corpus


def main(names: list[str]) -> int:
    """Compare and print."""
    totals: Counter[str] = Counter()
    for category in storage_corpus.CATEGORIES:
        for case in storage_corpus.cases(category):
            if names and case.name.rpartition("/")[2] not in names:
                continue
            totals[category] += 1
            difference = storage_corpus.difference(case)
            if not difference:
                totals[f"{category}, equal"] += 1
            elif storage_corpus.is_definable_here(case):
                totals[f"{category}, definable here on purpose"] += 1
            else:
                print(case.name, *difference, sep="\n    ")  # noqa: T201
    for what, count in sorted(totals.items()):
        print(f"{what}: {count}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
