"""<filter> and <filterbinding>: round trips, errors, answers of a stock libvirtd."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from conf.errors import ConfError
from conf.nwfilter import (
    Filter,
    Rule,
    format_binding,
    format_filter,
    format_status,
    parse_binding,
    parse_filter,
    parse_status,
    stock_filters,
)
from conf.nwfilter.model import Reference
from conf.nwfilter.protocols import PROTOCOLS
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/nwfilter.jsonl"
BINDING: Final = """<filterbinding>
  <owner>
    <name>web</name>
    <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>
  </owner>
  <portdev name='vnet0'/>
  <mac address='52:54:00:7b:35:93'/>
  <filterref filter='clean-traffic'>
    <parameter name='IP' value='192.168.122.9'/>
    <parameter name='IP' value='192.168.122.10'/>
  </filterref>
</filterbinding>
"""


def shape(xml: str) -> list[tuple[Any, ...]]:
    """A document without what carries no meaning."""
    nodes = etree.fromstring(xml.encode()).iter()
    return [(node.tag, sorted(node.attrib.items()), (node.text or "").strip()) for node in nodes]


def answer(xml: str) -> tuple[str, str]:
    """What we say to a document: the kind of the refusal and its words, or "" and the document."""
    try:
        return "", format_filter(parse_filter(xml))
    except ConfError as refused:
        return refused.kind, f"internal error: {refused.message}"


@pytest.mark.skipif(not CORPUS.exists(), reason=f"{CORPUS}: no measured answers here")
def test_corpus_matches_libvirt() -> None:
    for line in CORPUS.read_text().splitlines():
        case = json.loads(line)
        kind, said = answer(case["input"])
        if case["accepted"]:
            assert kind == "", f"{case['name']}: {said}"
            assert shape(said) == shape(case["output"]), case["name"]
        else:
            assert (kind, said) == ("internal", case["message"]), case["name"]


VALUES: Final = {
    "mac": "52:54:00:00:00:01",
    "ipv4": "10.1.2.3",
    "ipv6": "fe80::1",
    "mask4": "24",
    "mask6": "64",
    "truth": "true",
    "states": "NEW,ESTABLISHED",
    "tcp_flags": "SYN/ALL",
    "ipset": "guests",
    "ipset_flags": "src,dst",
    "comment": 'it\'s <odd> & "quoted"',
    "read": "6",
}


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_every_attribute_round_trips(protocol: str) -> None:
    values = {}
    for name, kind in PROTOCOLS[protocol].items():
        given_value = VALUES[kind.__name__]
        values[name] = "0x1234" if name in ("protocolid", "encap-protocol") else given_value
    rule = Rule(action="drop", direction="inout", protocol=protocol, values=values)
    read = parse_filter(format_filter(Filter(name="f", entries=(rule,)))).entries[0]
    assert isinstance(read, Rule)
    assert set(read.values) == set(values)
    again = parse_filter(format_filter(Filter(name="f", entries=(read,)))).entries[0]
    assert again == read


@pytest.mark.parametrize(
    ("element", "written"),
    [
        ("<arp gratuitous='yes'/>", "<arp gratuitous='true'/>"),
        ("<arp gratuitous='TRUE'/>", "<arp gratuitous='false'/>"),
        ("<arp gratuitous='32'/>", "<arp gratuitous='false'/>"),
        ("<tcp state=''/>", "<tcp state=''/>"),
        ("<tcp state=' invalid NEW,,'/>", "<tcp state='NEW,INVALID'/>"),
        ("<tcp state='NONE,NEW'/>", "<tcp state='NONE'/>"),
    ],
)
def test_words_are_read_as_by_libvirt(element: str, written: str) -> None:
    document = f"<filter name='f'><rule action='accept' direction='in'>{element}</rule></filter>"
    assert written in format_filter(parse_filter(document))


rules = st.builds(
    Rule,
    action=st.sampled_from(("drop", "accept", "reject", "return", "continue")),
    direction=st.sampled_from(("in", "out", "inout")),
    priority=st.integers(-1000, 1000),
    statematch=st.booleans(),
    protocol=st.sampled_from(("tcp", "mac", "all-ipv6")),
    negated=st.just(False),
    values=st.dictionaries(
        st.just("comment"), st.text(st.characters(categories=["L", "N", "P", "S"])), max_size=1
    ),
)


@given(st.lists(rules, max_size=5), st.sampled_from(("root", "mac", "ipv4-ip", "arp")))
def test_formatting_round_trips(entries: list[Rule], chain: str) -> None:
    filter = Filter(
        name="f", chain=chain, priority=7, entries=(*entries, Reference(filter="g", variables={}))
    )
    assert parse_filter(format_filter(filter)) == filter


@pytest.mark.parametrize(
    ("xml", "kind", "says"),
    [
        ("<filter/>", "internal", "no name"),
        ("<network name='x'/>", "xml", "root element"),
        ("<filter name='a/b'/>", "xml", "cannot contain '/'"),
        ("<filter name='x' chain='tcp'/>", "invalid_arg", "Invalid chain name 'tcp'"),
        ("<filter name='x' chain='arp-far-too-long'/>", "invalid_arg", "longer"),
        ("<filter name='x' chain='arp-; rm'/>", "invalid_arg", "invalid characters"),
        ("<filter name='x' chain='arp' priority='x'/>", "invalid_arg", "parse chain priority"),
        ("<filter name='x' chain='arp' priority='1001'/>", "invalid_arg", "outside valid range"),
        ("<filter name='x'><uuid>1</uuid></filter>", "xml", "malformed uuid"),
        ("<filter name='x'><rule direction='in'/></filter>", "internal", "requires action"),
        ("<filter name='x'><rule action='drop'/></filter>", "internal", "requires direction"),
        (
            "<filter name='x'><rule action='a' direction='in'/></filter>",
            "config_unsupported",
            "'a'",
        ),
        (
            "<filter name='x'><rule action='drop' direction=''/></filter>",
            "config_unsupported",
            "''",
        ),
        ("<filter name='x'><uuid>1</uuid><rule/></filter>", "xml", "malformed uuid"),
        (
            "<filter name='x'><rule action='drop' direction='in'>"
            "<stp type='x'/><stp type='1'/></rule></filter>",
            "internal",
            "type has illegal value x",
        ),
        ("<filter name='x'><filterref/></filter>", "internal", "filterref"),
        (
            "<filter name='x'><rule action='drop' direction='in'><all ipset='a'/></rule></filter>",
            "internal",
            "ipsetflags",
        ),
    ],
)
def test_invalid_filters_are_refused(xml: str, kind: str, says: str) -> None:
    with pytest.raises(ConfError, match=says) as refused:
        parse_filter(xml)
    assert refused.value.kind == kind


def test_packaged_filters_are_those_of_libvirt() -> None:
    found = stock_filters()
    assert {"clean-traffic", "no-mac-spoofing", "no-ip-spoofing", "allow-dhcp-server"} <= set(found)
    assert len(found) == 24
    for xml in found.values():
        for entry in parse_filter(xml).entries:
            if isinstance(entry, Reference):
                assert entry.filter in found


def test_binding_round_trips() -> None:
    binding = parse_binding(BINDING)
    assert binding.variables == {"IP": ("192.168.122.9", "192.168.122.10")}
    assert format_binding(binding) == BINDING
    assert parse_status(format_status(binding)) == binding


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ("<portdev name='vnet0'/>", "no port dev name"),
        ("<mac address='52:54:00:7b:35:93'/>", "no MAC address"),
        ("<name>web</name>", "no owner name"),
        ("filter='clean-traffic'", "no filter reference"),
    ],
)
def test_incomplete_bindings_are_refused(cut: str, says: str) -> None:
    with pytest.raises(ConfError, match=says):
        parse_binding(BINDING.replace(cut, ""))


@pytest.mark.parametrize("name", ["../../etc", "a b", "a" * 16, ".."])
def test_invalid_device_names_are_refused(name: str) -> None:
    with pytest.raises(ConfError, match="cannot name"):
        parse_binding(BINDING.replace("vnet0", name))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("<rule action='drop' direction='in'><tpc/></rule>", "<tpc> in <rule>"),
        ("<rule action='drop' direction='in'><tcp/><x/></rule>", "<x> in <rule>"),
        ("<rule action='accept' direction='in'><tcp dstport='22'/></rule>", "'dstport' of <tcp>"),
        ("<rule action='drop' direction='in' prioriy='1'/>", "'prioriy' of <rule>"),
        ("<rules/>", "<rules> in <filter>"),
    ],
)
def test_unknown_elements_and_attributes_are_refused(content: str, name: str) -> None:
    with pytest.raises(ConfError, match=f"unknown .*{name}"):
        parse_filter(f"<filter name='f'>{content}</filter>")


def test_a_rule_without_a_protocol_element_survives_formatting() -> None:
    xml = "<filter name='f' chain='arp'>\n  <rule action='drop' direction='out' priority='9'/>\n"
    assert format_filter(parse_filter(f"{xml}</filter>")) == f"{xml}</filter>\n"


def test_attributes_of_a_repeated_protocol_element_are_added() -> None:
    rule = "<tcp dstportstart='22'/><udp/><tcp dstportstart='23' option='1'/>"
    filter = parse_filter(
        f"<filter name='f'><rule action='drop' direction='in'>{rule}</rule></filter>"
    )
    assert isinstance(filter.entries[0], Rule)
    assert filter.entries[0].values == {"dstportstart": "23", "option": "1"}


def test_an_empty_uuid_is_absent() -> None:
    assert parse_filter("<filter name='x'><uuid/></filter>").uuid == ""


def test_match_no_needs_a_value_to_negate() -> None:
    rule = "<rule action='drop' direction='in'><all match='no'{}/></rule>"
    document = f"<filter name='x'>{rule}</filter>"
    (bare,) = parse_filter(document.format("")).entries
    (negating,) = parse_filter(document.format(" state='NEW'")).entries
    assert isinstance(bare, Rule)
    assert isinstance(negating, Rule)
    assert (bare.negated, negating.negated) == (False, True)


def test_short_forms_of_addresses_are_completed() -> None:
    document = "<rule action='drop' direction='in'><tcp srcipaddr='10.1'/></rule>"
    (rule,) = parse_filter(f"<filter name='x'>{document}</filter>").entries
    assert isinstance(rule, Rule)
    assert rule.values["srcipaddr"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("010", 10), (" 7", 7), ("0400", 400), ("-1", -1),
        # What is no number is the default, as with libvirt.
        ("0x10", 500), ("7 ", 500), ("1_0", 500), ("٣", 500),
    ],
)  # fmt: skip
def test_the_priority_of_a_rule_is_decimal(text: str, priority: int) -> None:
    rule = f"<rule action='accept' direction='in' priority='{text}'/>"
    assert f"priority='{priority}'" in format_filter(
        parse_filter(f"<filter name='f'>{rule}</filter>")
    )


def test_the_priority_of_a_chain_is_decimal() -> None:
    made = parse_filter("<filter name='f' chain='arp' priority='010'/>")
    assert "priority='10'" in format_filter(made)
    for text in ("0x10", "7 ", "1_0", "٣"):
        with pytest.raises(ConfError, match="Could not parse chain priority"):
            parse_filter(f"<filter name='f' chain='arp' priority='{text}'/>")
