"""Changes planned from iptables-save for iptables-restore."""

from __future__ import annotations

import shlex
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.netd.firewall import ForwardMode, NetworkFacts
from supervisor.netd.firewall.iptables_save import (
    TableChange,
    format_rule,
    parse_save,
    plan_install,
    plan_removal,
)
from supervisor.netd.firewall.rules import plan

FACTS = NetworkFacts(
    name="n",
    bridge="virbr7",
    mode=ForwardMode.NAT,
    subnets=(IPv4Network("10.7.0.0/24"),),
    dhcp4=True,
)
OTHER = replace(FACTS, name="m", bridge="virbr8", subnets=(IPv4Network("10.8.0.0/24"),))


def restored(saved: str, changes: list[TableChange]) -> str:
    """What iptables-save would show after a restore: a model of the program."""
    tables = parse_save(saved)
    for change in changes:
        table = tables[change.table]
        for line in change.text().splitlines()[1:-1]:
            verb, chain, *words = shlex.split(line)
            rules = table.rules.setdefault(chain, [])
            if verb == "-N":
                assert chain not in table.chains
                table.chains.add(chain)
            elif verb == "-D":
                rules.remove(words)
            else:
                assert verb == "-I"
                place = int(words.pop(0)) if words[0].isdecimal() else 1
                rules.insert(place - 1, words)
    lines = []
    for name, table in tables.items():
        lines += [f"*{name}", *(f":{chain} - [0:0]" for chain in sorted(table.chains))]
        for chain, all_of_it in table.rules.items():
            lines += [f"-A {chain} {format_rule(words)}" for words in all_of_it]
        lines.append("COMMIT")
    return "\n".join(lines)


EMPTY = "*filter\nCOMMIT\n*nat\nCOMMIT\n*mangle\nCOMMIT\n"


def installed(saved: str, facts: NetworkFacts) -> str:
    return restored(saved, plan_install(parse_save(saved), plan(facts), facts))


def removed(saved: str, facts: NetworkFacts) -> str:
    return restored(saved, plan_removal(parse_save(saved), plan(facts), facts))


def test_complete_rules_are_not_touched() -> None:
    there = installed(EMPTY, FACTS)
    assert plan_install(parse_save(there), plan(FACTS), FACTS) == []


def test_jumps_are_in_libvirts_order() -> None:
    there = parse_save(installed(EMPTY, FACTS))["filter"]
    targets = [rule[-1] for rule in there.rules["FORWARD"]]
    assert targets == ["LIBVIRT_FWX", "LIBVIRT_FWI", "LIBVIRT_FWO"]


def test_missing_jump_is_restored_in_order() -> None:
    there = installed(EMPTY, FACTS)
    broken = there.replace("-A FORWARD -j LIBVIRT_FWI\n", "")
    assert broken != there
    assert parse_save(installed(broken, FACTS)) == parse_save(there)


def test_only_incomplete_tables_are_changed() -> None:
    broken = installed(EMPTY, FACTS).replace("-A LIBVIRT_FWX -i virbr7 -o virbr7 -j ACCEPT\n", "")
    changes = plan_install(parse_save(broken), plan(FACTS), FACTS)
    assert [change.table for change in changes] == ["filter"]


def test_duplicate_rules_are_removed() -> None:
    rule = "-A LIBVIRT_FWX -i virbr7 -o virbr7 -j ACCEPT\n"
    there = installed(EMPTY, FACTS)
    assert parse_save(installed(there.replace(rule, rule * 2), FACTS)) == parse_save(there)


def test_checksum_rule_depends_on_dhcp() -> None:
    there = installed(EMPTY, FACTS)
    assert "CHECKSUM" not in installed(there, replace(FACTS, dhcp4=False))


def test_only_the_checksum_rule_is_optional() -> None:
    changes = plan_install(parse_save(EMPTY), plan(FACTS), FACTS)
    assert {change.table: change.optional for change in changes} == {
        "filter": False,
        "nat": False,
        "mangle": True,
    }


def test_removal_keeps_rules_of_others() -> None:
    mine = EMPTY.replace("*filter\n", "*filter\n-A INPUT -i virbr7 -j LOG\n")
    one = installed(mine, OTHER)
    both = installed(one, FACTS)
    assert parse_save(removed(both, FACTS))["nat"].rules == parse_save(one)["nat"].rules
    assert "-A INPUT -i virbr7 -j LOG" in removed(both, FACTS)
    assert "virbr7" not in removed(both, FACTS).replace("-A INPUT -i virbr7 -j LOG", "")


def test_removal_finds_rules_of_earlier_definitions() -> None:
    there = installed(EMPTY, FACTS)
    assert "virbr7" not in removed(there, replace(FACTS, mode=ForwardMode.ISOLATED, dhcp4=False))


def test_second_removal_is_empty() -> None:
    gone = removed(installed(EMPTY, FACTS), FACTS)
    assert plan_removal(parse_save(gone), plan(FACTS), FACTS) == []


def test_option_order_is_ignored() -> None:
    saved = parse_save("*filter\n-A X -i a -p udp -m udp --dport 5 -j ACCEPT\nCOMMIT\n")["filter"]
    assert saved.has("X", ("-p", "udp", "--dport", "5", "-i", "a", "-j", "ACCEPT"))
    assert not saved.has("X", ("-p", "udp", "--dport", "6", "-i", "a", "-j", "ACCEPT"))


def test_negation_is_significant() -> None:
    saved = parse_save("*nat\n-A X ! -d 1.2.3.0/24 -j RETURN\nCOMMIT\n")["nat"]
    assert saved.has("X", ("!", "-d", "1.2.3.0/24", "-j", "RETURN"))
    assert not saved.has("X", ("-d", "1.2.3.0/24", "-j", "RETURN"))


@pytest.mark.parametrize("negated", ["-s ! 52:54:00:00:00:01", "! -s 52:54:00:00:00:01"])
def test_negation_of_either_ebtables_is_read(negated: str) -> None:
    saved = parse_save(f"*nat\n-A X {negated} -j DROP\nCOMMIT\n")["nat"]
    for form in (("-s", "!"), ("!", "-s")):
        assert saved.has("X", (*form, "52:54:00:00:00:01", "-j", "DROP"))
    assert not saved.has("X", ("-s", "52:54:00:00:00:01", "-j", "DROP"))


@given(st.lists(st.text(min_size=1), min_size=1))
def test_arguments_survive_quoting(words: list[str]) -> None:
    plain = [word for word in words if word.splitlines() == [word]]
    saved = parse_save(f"*filter\n-A X {format_rule(plain)}\n")
    assert saved["filter"].rules["X"] == [plain]


def test_arguments_cannot_inject_lines() -> None:
    assert "\n" not in format_rule(["--comment", "one\n-A FORWARD -j ACCEPT"])


def test_filter_chains_are_evaluated_before_networks() -> None:
    filtered = EMPTY.replace("*filter\n", "*filter\n-A FORWARD -j libvirt-in\n-A FORWARD -j LOG\n")
    there = parse_save(installed(filtered, FACTS))["filter"].rules["FORWARD"]
    assert [rule[-1] for rule in there] == [
        "libvirt-in",
        "LIBVIRT_FWX",
        "LIBVIRT_FWI",
        "LIBVIRT_FWO",
        "LOG",
    ]
