"""Rules of iptables as python-iptables' objects: nothing of a rule is lost.

Each family has a process of its own, as in netd: libxtables registers an extension once.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from supervisor.netd.firewall import ForwardMode, NatRange, NetworkFacts
from supervisor.netd.firewall.iptables_save import parse_rule
from supervisor.netd.firewall.iptc_rules import from_iptc, to_iptc
from supervisor.netd.firewall.rules import Family, plan
from supervisor.netd.firewall.xtables import python_iptables_works
from tests.paths import PROJECT
from tests.python_iptables import NEEDED

pytestmark = list(NEEDED)
FACTS = NetworkFacts(
    name="n",
    bridge="virbr7",
    mode=ForwardMode.NAT,
    dev="eth0",
    subnets=(IPv4Network("10.7.0.0/24"), IPv6Network("fd00:7::/64")),
    nat=NatRange(first=IPv4Address("10.0.0.1"), last=IPv4Address("10.0.0.9"), ipv6=True),
    dhcp4=True,
    tftp=True,
)
LOSSY = (
    ("-p", "udp", "-m", "udp", "--nothing", "5", "-j", "ACCEPT"),
    ("--dport", "5", "-j", "ACCEPT"),
    ("-m", "no_such_match", "--x", "1", "-j", "ACCEPT"),
)


def check(family: Family) -> None:
    """Translate the rules of a family there and back; runs in a process of its own."""
    iptc = importlib.import_module("iptc")
    importlib.import_module("iptc.easy")
    rules = [rule for rule in plan(FACTS) if rule.family is family]
    assert len(rules) > 10
    for rule in rules:
        became = from_iptc(iptc, family, to_iptc(iptc, family, rule.args))
        assert parse_rule(became) == parse_rule(rule.args), rule
    for args in LOSSY:
        with pytest.raises((ValueError, AttributeError, iptc.XTablesError)):
            to_iptc(iptc, family, args)


@pytest.mark.parametrize("family", Family)
def test_rules_of_networks_survive_and_lossy_ones_are_refused(family: Family) -> None:
    code = f"from {__name__} import Family, check; check(Family({family.value}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


async def test_a_python_iptables_that_cannot_translate_is_not_used() -> None:
    assert not await python_iptables_works([sys.executable, "-c", "raise ValueError('dport')"])
