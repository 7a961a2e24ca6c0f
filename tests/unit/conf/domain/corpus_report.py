"""Where our completed domains differ from stock's.

    .venv/bin/python tests/unit/conf/domain/corpus_report.py [--full] [NAME...]

Prints the first differences of each document (all of them with --full, and for those named), then
how many documents are equal.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from typing import Final

from tests.unit.conf.domain import domain_corpus

SHOWN: Final = 6  # lines of a difference


def main(arguments: list[str]) -> int:
    """Compare and print."""
    named = {argument for argument in arguments if not argument.startswith("--")}
    full = bool(named) or "--full" in arguments
    totals: Counter[str] = Counter()
    for case in domain_corpus.cases():
        if named and case.name.rpartition("/")[2] not in named and case.name not in named:
            continue
        kind = "refused" if case.code else "accepted"
        totals[kind] += 1
        try:
            difference = domain_corpus.difference(case)
        except Exception:  # noqa: BLE001  (a report goes on, and shows it)
            difference = ["! " + line for line in traceback.format_exc(limit=-2).splitlines()]
        if not difference:
            totals[f"{kind}, equal"] += 1
            continue
        print(case.name)  # noqa: T201
        for line in difference if full else difference[:SHOWN]:
            print(f"    {line}")  # noqa: T201
    for name, count in sorted(totals.items()):
        print(f"{name}: {count}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
