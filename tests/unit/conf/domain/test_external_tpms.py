"""<tpm> whose emulator somebody else runs, as stock libvirt 9.0 reads it."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.errors import ConfError

XML = (
    "<domain type='qemu'><name>x</name><os><type>hvm</type></os><devices>"
    "<tpm model='tpm-tis'><backend type='external'>{}</backend></tpm></devices></domain>"
)
REFUSED = {
    "": ("xml", "missing external TPM backend type"),
    "<source path='/x'/>": ("xml", "missing external TPM backend type"),
    "<source type='unix'/>": ("xml", "missing socket path"),
    "<source type='tcp' path='/x'/>": ("xml", "only source type 'unix'"),
    "<source type='unix' mode='bind' path='/x'/>": ("xml", "only 'client' mode"),
    "<source type='foo'/>": ("config_unsupported", "unknown backend type 'foo'"),
}


@pytest.mark.parametrize("source", REFUSED)
def test_a_source_that_stock_refuses_is_refused(source: str) -> None:
    kind, text = REFUSED[source]
    with pytest.raises(ConfError, match=text) as refused:
        parse_domain(XML.format(source))
    assert refused.value.kind == kind


def test_the_mode_goes_without_saying() -> None:
    domain = parse_domain(XML.format("<source type='unix' path='/x'/>"))
    assert "<source type='unix' mode='connect' path='/x'/>" in format_domain(domain)
