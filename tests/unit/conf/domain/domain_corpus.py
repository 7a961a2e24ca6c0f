"""The measured answers of a stock libvirt 9.0 to documents of domains, and ours beside them.

The folder is not part of the project; whoever has it at hand compares with it. Nothing of it is
copied here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from lxml import etree

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.hostd.emulator.emulators import Emulators
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/domain.jsonl"
#: Values that the run of the measured daemon made up.
TOKENS: Final = {
    "UUID": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "MAC": "[0-9a-f]{2}(?::[0-9a-f]{2}){2}",
}
_TOKEN: Final = re.compile("@([A-Z]+)[0-9]*@")


@dataclass(frozen=True, slots=True)
class Case:
    """A document, and what the stock daemon made of it."""

    name: str
    document: str
    output: str  # "" where it refused
    code: int  # 0 where it accepted
    message: str


def cases() -> Iterator[Case]:
    """Every case that was asked."""
    with CORPUS.open(encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            if case.get("accepted") or "code" in case:
                yield Case(
                    case["name"],
                    case["input"],
                    case.get("output", ""),
                    case.get("code", 0),
                    case.get("message", ""),
                )


@cache
def emulators() -> Emulators:
    """Those of this machine, as hostd knows them."""
    return Emulators(Path(tempfile.gettempdir()) / f"virtvisor-tests-{os.getuid()}/capabilities")


@cache
def facts(binary: str) -> EmulatorFacts:
    """What an emulator of this machine can do.

    Raises:
        VirError: it is not there.
    """
    return asyncio.run(emulators().facts(binary))


def answer(document: str) -> str:
    """Our document for it.

    Raises:
        ConfError, VirError: we refuse it.
    """
    domain = parse_domain(document)
    arch = domain.os.type.arch if domain.os.type else None
    binary = domain.devices.emulator or emulators().default(arch or "x86_64")
    return format_domain(complete(domain, facts(binary)), secure=True)


def difference(case: Case) -> list[str]:
    """The lines in which we differ: `-` is stock's, `+` ours; empty if we do not."""
    try:
        own = answer(case.document)
    except (ConfError, VirError) as error:
        refused = from_conf_error(error) if isinstance(error, ConfError) else error
        code = refused.code
        if code == case.code:
            return []
        name = f"stock: {case.code} {case.message}" if case.code else "stock accepts it"
        return [f"- {name}", f"+ {int(code)} {refused.message}"]
    if case.code:
        return [f"- {ErrorCode(case.code).name}: {case.message}", "+ accepted"]
    return unlike(case.output, own)


def unlike(other: str, own: str) -> list[str]:
    """Lines that only one of two documents has; made-up values are alike, order matters."""
    expected, result = _lines(other), _lines(own)
    start = 0
    while start < min(len(expected), len(result)) and _alike(expected[start], result[start]):
        start += 1
    end = 0
    left = min(len(expected), len(result)) - start
    while end < left and _alike(expected[-1 - end], result[-1 - end]):
        end += 1
    return [
        *(f"- {line}" for line in expected[start : len(expected) - end]),
        *(f"+ {line}" for line in result[start : len(result) - end]),
    ]


def with_values(document: str) -> str:
    """The document with plain values where the run's own stood."""
    values = {"UUID": "6d6f2b2e-56a7-4ba4-8d6e-0e0f3b0d2f11", "MAC": "11:22:33"}
    return _TOKEN.sub(lambda token: values.get(token[1], "1"), document)


def _alike(expected: str, result: str) -> bool:
    if "@" not in expected:
        return expected == result
    kinds = _TOKEN.findall(expected)
    parts = [re.escape(part) for part in _TOKEN.split(expected)[::2]]
    pattern = parts[0]
    for kind, part in zip(kinds, parts[1:], strict=True):
        pattern += TOKENS.get(kind, ".+") + part
    return re.fullmatch(pattern, result) is not None


def attributes_of(node: etree._Element) -> list[tuple[str, str]]:
    """An element's attributes by name."""
    return sorted((str(name), str(value)) for name, value in node.attrib.items())


def _lines(document: str) -> list[str]:
    """An element a line; order of attributes and white space between elements mean nothing."""
    result: list[str] = []

    def add(node: etree._Element, depth: int) -> None:
        attributes = "".join(f" {name}='{value!s}'" for name, value in attributes_of(node))
        text = (node.text or "").strip() if len(node) == 0 else ""
        result.append(
            ("  " * depth + "<" + etree.QName(node).text + attributes + "> " + text).rstrip()
        )
        for inner in node:
            if isinstance(inner.tag, str):
                add(inner, depth + 1)

    add(etree.fromstring(document), 0)
    return result
