"""Which packet filter is used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.backend_choice import Backend, HostFirewalls, configured, select

BOTH = HostFirewalls(iptables=True, nft=True, iptables_rules=False, nftables_rules=False)


def test_the_setting_counts_first() -> None:
    used = replace(BOTH, iptables_rules=True)
    assert select(configured('firewall_backend = "nftables"', "network.conf"), used) is (
        Backend.NFTABLES
    )


def test_no_setting_is_none() -> None:
    assert configured("# firewall_backend = 'x'\n", "network.conf") is None


def test_an_unknown_backend_is_refused_with_its_line() -> None:
    with pytest.raises(ConfError, match=r"network\.conf:2: .*'pf' is not known"):
        configured("\nfirewall_backend = 'pf'\n", "network.conf")


def test_a_host_without_rules_gets_iptables() -> None:
    assert select(None, BOTH) is Backend.IPTABLES


def test_a_host_that_uses_nftables_alone_gets_nftables() -> None:
    assert select(None, replace(BOTH, nftables_rules=True)) is Backend.NFTABLES


def test_a_host_that_uses_both_gets_iptables() -> None:
    assert select(None, replace(BOTH, nftables_rules=True, iptables_rules=True)) is Backend.IPTABLES


def test_what_is_not_installed_is_not_chosen() -> None:
    assert select(None, replace(BOTH, iptables=False)) is Backend.NFTABLES
    assert select(None, replace(BOTH, nft=False, nftables_rules=True)) is Backend.IPTABLES


@pytest.mark.parametrize(
    ("setting", "host"),
    [
        (Backend.NFTABLES, replace(BOTH, nft=False)),
        (Backend.IPTABLES, replace(BOTH, iptables=False)),
        (None, replace(BOTH, iptables=False, nft=False)),
    ],
)
def test_a_missing_program_is_named(setting: Backend | None, host: HostFirewalls) -> None:
    with pytest.raises(VirError, match="installed") as refused:
        select(setting, host)
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED
