"""The VALIDATE flags' check on the way from a call to `conf`."""

from __future__ import annotations

import asyncio

import pytest
from lxml import etree

from conf.network import Network
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.schema import log_unknown, require_valid

UNKNOWN_ELEMENT = "<network><name>n</name><bogus/></network>"


def test_unknown_element_is_refused_in_libvirts_words() -> None:
    with pytest.raises(VirError) as refusal:
        asyncio.run(require_valid(UNKNOWN_ELEMENT, "network.rng", Network, 1))
    assert (refusal.value.code, refusal.value.domain) == (
        ErrorCode.XML_INVALID_SCHEMA,
        ErrorDomain.XML,
    )
    assert refusal.value.message.startswith(
        "XML document failed to validate against schema: "
        "Unable to validate doc against /usr/share/libvirt/schemas/network.rng\n"
    )


def test_without_the_flag_nothing_is_checked() -> None:
    asyncio.run(require_valid(UNKNOWN_ELEMENT, "network.rng", Network, 0))


def test_what_nothing_reads_is_named_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    twice = "<network foo='1'><name>n</name><bogus/><bogus/><dns bar='2'><baz/></dns></network>"
    log_unknown("network 'n'", etree.fromstring(twice), Network)
    (record,) = caplog.records
    assert record.getMessage() == (
        "the XML of network 'n' has parts without effect: Invalid attribute foo for element "
        "network; Did not expect element bogus in network; Invalid attribute bar for element "
        "network/dns; Did not expect element baz in network/dns"
    )


def test_what_is_known_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    known = "<network><name>n</name><dns enable='no'/></network>"
    log_unknown("network 'n'", etree.fromstring(known), Network)
    assert not caplog.records


def test_the_log_names_no_more_than_anybody_reads(caplog: pytest.LogCaptureFixture) -> None:
    many = "".join(f"<x{number}/>" for number in range(1000))
    document = f"<network><name>n</name>{many}</network>"
    log_unknown("network 'n'", etree.fromstring(document), Network)
    assert "x19 in network" in caplog.text
    assert "x20 in network" not in caplog.text
