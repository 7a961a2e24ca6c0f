"""<network> compared with the answers of a stock libvirtd 9.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from lxml import etree

from conf.errors import ConfError
from conf.network import complete, format_network, parse_network, validate
from rpc.errors import ErrorDomain
from supervisor.dispatch.errors import from_conf_error
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/network.jsonl"
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"no {CORPUS}: measured elsewhere")


def cases(*, refused: bool = True) -> Iterator[Any]:
    if CORPUS.exists():
        for line in CORPUS.read_text().splitlines():
            case = json.loads(line)
            if case["accepted"] or refused:
                yield pytest.param(case, id=case["name"])


def canonical(xml: str) -> Any:
    def of(element: Any) -> Any:
        inner = tuple(of(child) for child in element)
        return (
            element.tag,
            tuple(sorted(element.attrib.items())),
            (element.text or "").strip(),
            inner,
        )

    return of(etree.fromstring(xml))


@pytest.mark.parametrize("case", list(cases()))
def test_networks_are_accepted_as_by_libvirt(case: dict[str, Any]) -> None:
    try:
        network = complete(parse_network(case["input"]), make_mac=lambda: "52:54:00:@MAC@")
        validate(network)
    except ConfError as error:
        refused = from_conf_error(error, ErrorDomain.NETWORK)
        assert not case["accepted"], refused
        assert (refused.code, refused.domain) == (case["code"], case["domain"])
        return
    assert case["accepted"], f"stock refuses it: {case['message']}"
    written = format_network(network, inactive=True)
    if "@UUID@" in case["output"]:
        written = re.sub("<uuid>.*</uuid>", "<uuid>@UUID@</uuid>", written)
    assert canonical(written) == canonical(case["output"])


@pytest.mark.parametrize("case", list(cases(refused=False)))
def test_formatting_round_trips(case: dict[str, Any]) -> None:
    network = complete(parse_network(case["input"]))
    written = format_network(network, inactive=True)
    assert format_network(parse_network(written), inactive=True) == written
