"""Arbitrary filters are refused or planned without injecting options."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.nwfilter import Filter, Rule, format_filter, parse_filter
from conf.nwfilter.protocols import PROTOCOLS
from rpc.errors import VirError
from supervisor.netd.firewall.iptables_save import IptablesTable
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.nft_bridge import plan_change
from supervisor.netd.nwfilter.restore_text import ether_change, inet_change
from supervisor.netd.nwfilter.tap_plan import plan_tap

letters = st.characters(exclude_categories=["Cs", "Cc"])
hostile = st.one_of(
    st.text(letters, max_size=20),
    st.sampled_from(
        ("$X", "$X[0]", "$X[@1]", "$Y", "-j ACCEPT", "1\n-A X", "0x10", "65535", "10.0.0.1", "::1")
    ),
    st.sampled_from(
        (
            "NEW",
            "NONE",
            "SYN/ALL",
            "SYN/FOO",
            "-5",
            "99999",
            "4294967296",
            "src,dst",
            "true",
            "24",
            "1:2:3:4:5:6",
            "arp",
        )
    ),
)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    protocol = draw(st.sampled_from(sorted(PROTOCOLS)))
    names = st.sampled_from(sorted(PROTOCOLS[protocol]))
    rule = Rule(
        action=draw(st.sampled_from(("drop", "accept", "reject", "return", "continue"))),
        direction=draw(st.sampled_from(("in", "out", "inout"))),
        protocol=protocol,
        negated=draw(st.booleans()),
        values=draw(st.dictionaries(names, hostile, max_size=4)),
    )
    return Filter(name="f", entries=(rule,))


@settings(max_examples=400)
@given(filters(), st.lists(hostile, max_size=2))
def test_arbitrary_filters_are_planned_or_refused(made: Filter, variable: list[str]) -> None:
    try:
        read = parse_filter(format_filter(made))
    except ConfError:
        return
    try:
        plan = plan_tap("vnet0", "f", {"X": tuple(variable)}, {"f": read}.get)
    except VirError:
        return
    chains = [*plan.ether, *(name for family in plan.inet.values() for name in family)]
    count = sum(map(len, plan.ether.values()))
    told = ether_change(IptablesTable(), {"vnet0": plan})
    assert sum(line.startswith("-A ") for line in told.splitlines()) <= count + 2
    for family in Family:
        told += inet_change(IptablesTable(), {"vnet0": plan}, family)
    ours = {*chains, "PREROUTING", "POSTROUTING", "INPUT", "FORWARD", "libvirt-in", "libvirt-out"}
    ours |= {"libvirt-in-post", "libvirt-host-in"}
    for line in told.splitlines():
        assert line.startswith(("*", ":", "COMMIT")) or line.split()[1] in ours
    try:
        json.dumps(plan_change(set(), {"vnet0": plan}))
    except VirError:
        return


@settings(max_examples=300)
@given(st.text(letters, max_size=200))
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    for document in (text, f"<filter name='x'>{text}</filter>", f"<filter {text}/>"):
        try:
            parse_filter(document)
        except ConfError:
            continue
