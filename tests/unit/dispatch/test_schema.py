"""The VALIDATE flags' check on the way from a call to `conf`."""

from __future__ import annotations

import asyncio

import pytest

from conf.network import Network
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.schema import require_valid

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
