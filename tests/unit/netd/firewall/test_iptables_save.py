"""From what iptables-save shows to what iptables-restore is told."""

from __future__ import annotations

import shlex
from dataclasses import replace
from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from supervisor.netd.firewall import ForwardMode, NetworkFacts
from supervisor.netd.firewall.iptables_save import (
    RestoreInput,
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


def restored(saved: str, changes: list[RestoreInput]) -> str:
    """What iptables-save would show after a restore: a model of the program."""
    tables = parse_save(saved)
    for change in changes:
        table = tables[change.table]
        for told in change.lines:
            verb, chain, *words = shlex.split(told)
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


def test_what_is_complete_is_left_alone() -> None:
    there = installed(EMPTY, FACTS)
    assert plan_install(parse_save(there), plan(FACTS), FACTS) == []


def test_the_jumps_stand_in_the_order_that_stock_has() -> None:
    there = parse_save(installed(EMPTY, FACTS))["filter"]
    targets = [rule[-1] for rule in there.rules["FORWARD"]]
    assert targets == ["LIBVIRT_FWX", "LIBVIRT_FWI", "LIBVIRT_FWO"]


def test_a_jump_that_is_missing_comes_back_at_its_place() -> None:
    there = installed(EMPTY, FACTS)
    broken = there.replace("-A FORWARD -j LIBVIRT_FWI\n", "")
    assert broken != there
    assert parse_save(installed(broken, FACTS)) == parse_save(there)


def test_only_the_table_that_lacks_something_is_changed() -> None:
    broken = installed(EMPTY, FACTS).replace("-A LIBVIRT_FWX -i virbr7 -o virbr7 -j ACCEPT\n", "")
    changes = plan_install(parse_save(broken), plan(FACTS), FACTS)
    assert [change.table for change in changes] == ["filter"]


def test_a_rule_that_stands_twice_is_made_one() -> None:
    rule = "-A LIBVIRT_FWX -i virbr7 -o virbr7 -j ACCEPT\n"
    there = installed(EMPTY, FACTS)
    assert parse_save(installed(there.replace(rule, rule * 2), FACTS)) == parse_save(there)


def test_the_checksum_rule_goes_with_dhcp() -> None:
    there = installed(EMPTY, FACTS)
    assert "CHECKSUM" not in installed(there, replace(FACTS, dhcp4=False))


def test_only_the_checksum_rule_is_optional() -> None:
    changes = plan_install(parse_save(EMPTY), plan(FACTS), FACTS)
    assert {change.table: change.optional for change in changes} == {
        "filter": False,
        "nat": False,
        "mangle": True,
    }


def test_removal_leaves_other_networks_and_other_peoples_rules() -> None:
    mine = EMPTY.replace("*filter\n", "*filter\n-A INPUT -i virbr7 -j LOG\n")
    one = installed(mine, OTHER)
    both = installed(one, FACTS)
    assert parse_save(removed(both, FACTS))["nat"].rules == parse_save(one)["nat"].rules
    assert "-A INPUT -i virbr7 -j LOG" in removed(both, FACTS)
    assert "virbr7" not in removed(both, FACTS).replace("-A INPUT -i virbr7 -j LOG", "")


def test_removal_finds_rules_that_the_facts_no_longer_tell_of() -> None:
    there = installed(EMPTY, FACTS)
    assert "virbr7" not in removed(there, replace(FACTS, mode=ForwardMode.ISOLATED, dhcp4=False))


def test_removing_twice_changes_nothing_more() -> None:
    gone = removed(installed(EMPTY, FACTS), FACTS)
    assert plan_removal(parse_save(gone), plan(FACTS), FACTS) == []


def test_the_order_of_options_means_nothing() -> None:
    saved = parse_save("*filter\n-A X -i a -p udp -m udp --dport 5 -j ACCEPT\nCOMMIT\n")["filter"]
    assert saved.has("X", ("-p", "udp", "--dport", "5", "-i", "a", "-j", "ACCEPT"))
    assert not saved.has("X", ("-p", "udp", "--dport", "6", "-i", "a", "-j", "ACCEPT"))


def test_a_negated_option_is_another_one() -> None:
    saved = parse_save("*nat\n-A X ! -d 1.2.3.0/24 -j RETURN\nCOMMIT\n")["nat"]
    assert saved.has("X", ("!", "-d", "1.2.3.0/24", "-j", "RETURN"))
    assert not saved.has("X", ("-d", "1.2.3.0/24", "-j", "RETURN"))


@given(st.lists(st.text(min_size=1), min_size=1))
def test_words_survive_being_written_and_read(words: list[str]) -> None:
    plain = [word for word in words if word.splitlines() == [word]]
    saved = parse_save(f"*filter\n-A X {format_rule(plain)}\n")
    assert saved["filter"].rules["X"] == [plain]


def test_a_word_never_begins_another_line() -> None:
    assert "\n" not in format_rule(["--comment", "one\n-A FORWARD -j ACCEPT"])


def test_what_a_guests_filter_refuses_does_not_get_as_far_as_its_network() -> None:
    filtered = EMPTY.replace("*filter\n", "*filter\n-A FORWARD -j libvirt-in\n-A FORWARD -j LOG\n")
    there = parse_save(installed(filtered, FACTS))["filter"].rules["FORWARD"]
    assert [rule[-1] for rule in there] == [
        "libvirt-in",
        "LIBVIRT_FWX",
        "LIBVIRT_FWI",
        "LIBVIRT_FWO",
        "LOG",
    ]
