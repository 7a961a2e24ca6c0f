"""Chains of a tap, in libvirt's layout."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.nwfilter import Filter, Reference, Rule, parse_filter, stock_filters
from conf.nwfilter.model import chain_priority
from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.rules import Family
from supervisor.netd.nwfilter.tap_plan import TapPlan, plan_learning, plan_tap
from supervisor.netd.nwfilter.variables import combinations, parse_reference

STOCK = {name: parse_filter(xml) for name, xml in stock_filters().items()}
MAC = {"MAC": ("52:54:00:00:00:01",)}


def plan(*rules: Rule, variables: Mapping[str, tuple[str, ...]] = MAC) -> TapPlan:
    filters = {"f": Filter(name="f", entries=rules)}
    return plan_tap("vnet0", "f", variables, filters.get)


def rule(action: str, direction: str, protocol: str, priority: int = 500, **values: str) -> Rule:
    return Rule(
        action=action, direction=direction, protocol=protocol, priority=priority, values=values
    )


def inet(made: TapPlan, family: Family = Family.V4) -> dict[str, list[str]]:
    return {chain: [" ".join(one) for one in rules] for chain, rules in made.inet[family].items()}


def ether(made: TapPlan) -> dict[str, list[str]]:
    return {chain: [" ".join(one) for one in rules] for chain, rules in made.ether.items()}


def test_clean_traffic_chains() -> None:
    made = plan_tap("vnet0", "clean-traffic", {**MAC, "IP": ("10.0.0.2",)}, STOCK.get)
    assert ether(made)["libvirt-I-vnet0"] == [
        "-j I-vnet0-mac",
        "-p 0x800 -j I-vnet0-ipv4-ip",
        "-p 0x800 -j ACCEPT",
        "-p 0x806 -j I-vnet0-arp-mac",
        "-p 0x806 -j I-vnet0-arp-ip",
        "-p 0x806 -j ACCEPT",
        "-p 0x8035 -j I-vnet0-rarp",
        "-p 0x835 -j ACCEPT",
        "-j DROP",
    ]
    assert ether(made)["I-vnet0-mac"] == ["-s 52:54:00:00:00:01 -j RETURN", "-j DROP"]
    assert made.inet == {}


def test_rule_without_protocol_matches_every_frame() -> None:
    made = ether(plan(rule("drop", "inout", "", 1000), rule("accept", "out", "mac", 100)))
    assert made == {
        "libvirt-I-vnet0": ["-j ACCEPT", "-j DROP"],
        "libvirt-O-vnet0": ["-j DROP"],
    }


def test_rule_without_protocol_is_in_its_filters_chain() -> None:
    xml = """<filter name='f' chain='ipv4-ip' priority='-710'>
      <rule action='return' direction='out' priority='500'><ip srcipaddr='$IP'/></rule>
      <rule action='drop' direction='out' priority='1000'/>
    </filter>"""
    filters = {"f": parse_filter(xml)}
    made = plan_tap("vnet0", "f", {**MAC, "IP": ("10.0.0.2",)}, filters.get)
    assert ether(made) == {
        "libvirt-I-vnet0": ["-p 0x800 -j I-vnet0-ipv4-ip"],
        "I-vnet0-ipv4-ip": ["-p ipv4 --ip-source 10.0.0.2 -j RETURN", "-j DROP"],
    }


# Packets of connections, and whose side began the connection.
NEW = "--ctstate NEW,ESTABLISHED -m conntrack --ctdir ORIGINAL"
OLD = "--ctstate ESTABLISHED -m conntrack --ctdir REPLY"


def test_accepted_outgoing_connections_get_replies() -> None:
    chains = inet(plan(rule("accept", "out", "tcp", dstportstart="80", dstipaddr="10.0.0.9")))
    assert chains == {
        "FI-vnet0": [f"-p tcp -d 10.0.0.9 --dport 80 -m conntrack {NEW} -j RETURN"],
        "FO-vnet0": [f"-p tcp -s 10.0.0.9 --sport 80 -m conntrack {OLD} -j ACCEPT"],
        "HI-vnet0": [f"-p tcp -d 10.0.0.9 --dport 80 -m conntrack {NEW} -j RETURN"],
    }


def test_accepted_incoming_connections_get_replies() -> None:
    chains = inet(plan(rule("accept", "in", "tcp", dstportstart="22")))
    assert chains["FO-vnet0"] == [f"-p tcp --dport 22 -m conntrack {NEW} -j ACCEPT"]
    assert chains["FI-vnet0"] == [f"-p tcp --sport 22 -m conntrack {OLD} -j RETURN"]


def test_explicit_state_applies_to_one_direction() -> None:
    chains = inet(plan(rule("accept", "out", "all", state="ESTABLISHED,RELATED")))
    assert chains["FO-vnet0"] == []
    assert chains["FI-vnet0"] == [
        "-p all -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    ]


def test_drop_rules_have_no_states() -> None:
    chains = inet(plan(rule("drop", "inout", "all")))
    assert set(map(tuple, chains.values())) == {("-p all -j DROP",)}


def test_icmp_type_rules_apply_to_one_direction() -> None:
    chains = inet(plan(rule("accept", "in", "icmp", type="8")))
    assert chains["FI-vnet0"] == []
    assert chains["FO-vnet0"] == [
        "-p icmp --icmp-type 8 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"
    ]


def test_source_mac_is_matched_in_one_direction() -> None:
    made = plan(
        Rule(
            action="drop",
            direction="inout",
            protocol="all",
            negated=True,
            values={"srcmacaddr": "12:34:56:78:9a:bc"},
        )
    )
    assert inet(made) == {
        "FI-vnet0": [],
        "FO-vnet0": ["-p all -m mac ! --mac-source 12:34:56:78:9a:bc -j DROP"],
        "HI-vnet0": [],
    }


def test_connlimit_applies_to_new_connections() -> None:
    chains = inet(plan(rule("drop", "out", "tcp", 500, **{"connlimit-above": "2"})))
    assert chains["FO-vnet0"] == []
    assert chains["HI-vnet0"] == ["-p tcp -m connlimit --connlimit-above 2 -j DROP"]


def test_inout_rules_are_reversed_for_the_guests_frames() -> None:
    made = ether(plan(rule("accept", "inout", "ipv6", srcipaddr="1::2", dstipaddr="a::")))
    assert made["libvirt-I-vnet0"] == [
        "-p ipv6 --ip6-destination 1::2 --ip6-source a:: -j ACCEPT",
    ]
    assert made["libvirt-O-vnet0"] == [
        "-p ipv6 --ip6-source 1::2 --ip6-destination a:: -j ACCEPT",
    ]


def test_rules_are_sorted_by_priority() -> None:
    made = ether(plan(rule("drop", "out", "mac", 900), rule("accept", "out", "mac", -5)))
    assert made["libvirt-I-vnet0"] == ["-j ACCEPT", "-j DROP"]


def test_list_variables_expand_to_rules() -> None:
    lists = {"A": ("10.0.0.1", "10.0.0.2"), "B": ("80", "90")}
    values = {"srcipaddr": "$A", "srcportstart": "$B[@1]"}
    assert len(list(combinations(values, lists))) == 4
    assert list(combinations({"srcipaddr": "$A", "srcportstart": "$B"}, lists)) == [
        {"srcipaddr": "10.0.0.1", "srcportstart": "80"},
        {"srcipaddr": "10.0.0.2", "srcportstart": "90"},
    ]
    assert list(combinations({"srcipaddr": "$A[ 1 ]"}, lists)) == [{"srcipaddr": "10.0.0.2"}]


def test_list_elements_are_in_libvirts_order() -> None:
    """Iterator 0, which plain $NAME has, goes fastest; then the others by attributes."""
    lists = {"A": ("a1", "a2"), "B": ("b1", "b2"), "C": ("80", "90")}

    def order(**values: str) -> list[str]:
        return [" ".join(values.values()) for values in combinations(values, lists)]

    assert order(srcipaddr="$A[@2]", dstipaddr="$B[@1]") == ["a1 b1", "a2 b1", "a1 b2", "a2 b2"]
    assert order(srcipaddr="$A[@1]", dstportstart="$C") == ["a1 80", "a1 90", "a2 80", "a2 90"]
    assert order(srcipaddr="$A[@2]", dstipaddr="$B[@2]", dstportstart="$C[@0]") == [
        "a1 b1 80", "a1 b1 90", "a2 b2 80", "a2 b2 90",
    ]  # fmt: skip


def test_stp_chains_follow_all_other_chains() -> None:
    """Whatever its documentation says: libvirt 9.0 has no priority for them."""
    assert chain_priority("stp") == 0


def test_parallel_lists_need_equal_lengths() -> None:
    with pytest.raises(VirError, match="another length"):
        list(combinations({"a": "$A", "b": "$B"}, {"A": ("1",), "B": ("1", "2")}))


def test_list_expansion_is_limited() -> None:
    long = {name: tuple(map(str, range(100))) for name in "ABC"}
    with pytest.raises(VirError, match="4096"):
        list(combinations({"a": "$A", "b": "$B[@1]", "c": "$C[@2]"}, long))


def test_missing_variable_is_named() -> None:
    with pytest.raises(VirError, match=r"unresolvable.*: FOO") as refused:
        plan(rule("accept", "in", "ip", srcipaddr="$FOO"))
    assert refused.value.code is ErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize("value", ["1.2.3.4 -j ACCEPT", "x", "1.2.3", "::1 ", "\n"])
def test_variables_cannot_inject_options(value: str) -> None:
    for protocol in ("ip", "tcp"):
        with pytest.raises(VirError):
            plan(rule("drop", "out", protocol, srcipaddr="$X"), variables={"X": (value,)})


def test_recursive_filter_is_refused() -> None:
    filters = {
        "a": Filter(name="a", entries=(Reference(filter="b", variables={}),)),
        "b": Filter(name="b", entries=(Reference(filter="a", variables={}),)),
    }
    with pytest.raises(VirError, match="refers to itself"):
        plan_tap("vnet0", "a", MAC, filters.get)


@pytest.mark.parametrize(
    ("protocol", "attribute", "partner"),
    [
        ("tcp", "dstportend", "dstportstart"),
        ("ip", "srcipmask", "srcipaddr"),
        ("mac", "dstmacmask", "dstmacaddr"),
        ("arp", "arpsrcipmask", "arpsrcipaddr"),
        ("stp", "root-cost-hi", "root-cost"),
        ("stp", "root-address-mask", "root-address"),
        ("all", "dstipto", "dstipfrom"),
        ("icmp", "code", "type"),
    ],
)
def test_half_of_a_condition_is_refused(protocol: str, attribute: str, partner: str) -> None:
    with pytest.raises(VirError, match=f"{attribute} without {partner}$"):
        plan(rule("accept", "in", protocol, 500, **{attribute: "1"}))


def test_missing_filter_is_named() -> None:
    filters = {"a": Filter(name="a", entries=(Reference(filter="b", variables={}),))}
    with pytest.raises(VirError, match="referenced filter 'b' is missing"):
        plan_tap("vnet0", "a", MAC, filters.get)


def test_dhcp_learning_accepts_dhcp_only() -> None:
    made = ether(plan_learning("vnet0", "52:54:00:00:00:01", dhcp_only=True, servers=["10.0.0.1"]))
    assert made["libvirt-I-vnet0"][-1] == "-j DROP"
    assert all("--ip-source 10.0.0.1" in one for one in made["libvirt-O-vnet0"][:-1])
    assert len(made["libvirt-I-vnet0"]) == 2


@pytest.mark.parametrize("name", sorted(STOCK))
def test_every_packaged_filter_can_be_planned(name: str) -> None:
    names = ("IP", "IPV6", "DHCPSERVER", "GATEWAY_MAC")
    given_values = ("10.0.0.2", "fd00::2", "10.0.0.1", "52:54:00:00:00:09")
    said = {key: (value,) for key, value in zip(names, given_values, strict=True)}
    made = plan_tap("vnet0", name, {**MAC, **said}, STOCK.get)
    assert any(made.ether.values())
    assert all(len(chain) <= 31 for chain in made.ether)


@given(st.text())
def test_arbitrary_text_is_a_reference_or_none(text: str) -> None:
    found = parse_reference(text)
    assert found is None or text.startswith("$")


@pytest.mark.parametrize("server", ["10.0.0.1\n-A FORWARD -j ACCEPT", "x", "10.0.0.1 -j ACCEPT"])
def test_dhcpserver_must_be_an_address(server: str) -> None:
    with pytest.raises(VirError, match="an IP address"):
        plan_learning("vnet0", "52:54:00:00:00:01", dhcp_only=True, servers=[server])
