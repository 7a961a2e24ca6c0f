"""A domain's title, description and metadata are read without the rest."""

from __future__ import annotations

from conf.domain import parse_domain
from conf.domain.descriptions import DESCRIPTIONS, read_descriptions

XML = """<domain type='kvm'><name>x</name><title>a &lt; b</title><description>two
lines</description><metadata><a:x xmlns:a='urn:a'>1</a:x><plain/><b:y xmlns:b='urn:b'/></metadata>
<memory unit='MiB'>64</memory><os><type>hvm</type></os>
<devices><console type='pty'/></devices></domain>"""


def test_descriptions_are_those_of_the_whole_model() -> None:
    whole, descriptions = parse_domain(XML), read_descriptions(XML)
    for name in DESCRIPTIONS:
        assert getattr(descriptions, name) == getattr(whole, name), name
        assert getattr(descriptions, name), "the example has every one"
    assert descriptions.name == ""


def test_a_domain_without_any_has_none() -> None:
    xml = "<domain type='kvm'><name>x</name><os><type>hvm</type></os></domain>"
    descriptions = read_descriptions(xml)
    assert not any(getattr(descriptions, name) for name in DESCRIPTIONS)
