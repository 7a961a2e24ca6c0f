"""Compares planned command lines with those that stock libvirt 9.0 recorded for the same documents.

The recordings stand in ../shared/corpus (not part of this project): tests skip where it is
absent. A recorded command line comes from domainXMLToNative of the document's `output`; that call
makes each interface an `ethernet` one with only its MAC, model, boot order and script left, and
chooses free ports, which this harness does as well.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/domain.jsonl"
TOKEN: Final = re.compile(r"@[A-Z]+\d*@")


@dataclass(frozen=True)
class Case:
    """One recorded document."""

    name: str
    document: str
    environ: tuple[str, ...]
    argv: tuple[str, ...]


def cases() -> Iterator[Case]:
    """Every document that has a recorded command line."""
    for line in CORPUS.read_text().splitlines():
        record: dict[str, Any] = json.loads(line)
        if "argv" not in record:
            continue
        values = shlex.split(record["argv"])
        first = next(n for n, text in enumerate(values) if "=" not in text)
        yield Case(
            record["name"].split("/")[-1],
            record["output"],
            tuple(values[:first]),
            tuple(values[first:]),
        )


def options(argv: tuple[str, ...]) -> list[str]:
    """Each option with its value, JSON in one spelling."""
    result: list[str] = []
    for text in argv:
        if text.startswith("{"):
            text = json.dumps(json.loads(text), separators=(",", ":"))
        if result and not re.match(r"-[a-zA-Z]", text) and " " not in result[-1]:
            result[-1] += f" {text}"
        else:
            result.append(text)
    return result


def machine_properties(recorded: list[str]) -> list[str]:
    """Replace options that QEMU 10 no longer has by the properties of -machine that we plan.

    libvirt 9.0 recorded `-no-hpet` and `-no-acpi`; QEMU 7.2 takes `hpet=off` and `acpi=off`, too.
    """
    properties = [name for name in ("hpet", "acpi") if f"-no-{name}" in recorded]
    rest = [option for option in recorded if option not in ("-no-hpet", "-no-acpi")]
    suffix = "".join(f",{name}=off" for name in properties)
    return [option + suffix if option.startswith("-machine ") else option for option in rest]


def matches(recorded: str, planned: str) -> bool:
    """Whether two options are the same, a token standing for any value."""
    pattern = "".join(
        ".*?" if TOKEN.fullmatch(part) else re.escape(part)
        for part in re.split(r"(@[A-Z]+\d*@)", recorded)
    )
    return re.fullmatch(pattern, planned, re.DOTALL) is not None


def first_difference(case: Case, argv: tuple[str, ...], environ: dict[str, str]) -> str | None:
    """What differs first, in a line or two; None where all is the same."""
    planned_environ = [f"{name}={value}" for name, value in environ.items()]
    for kind, recorded, planned in (
        ("environ", list(case.environ), planned_environ),
        ("argv", machine_properties(options(case.argv)), options(argv)),
    ):
        for position in range(max(len(recorded), len(planned))):
            want = recorded[position] if position < len(recorded) else "(nothing)"
            have = planned[position] if position < len(planned) else "(nothing)"
            if not matches(want, have):
                return f"{kind}\n    stock: {want}\n    ours:  {have}"
    return None
