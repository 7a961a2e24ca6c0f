"""Selection of the firewall backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.backend_choice import (
    Backend,
    HostFirewalls,
    configured,
    is_legacy,
    select,
)

BOTH = HostFirewalls(iptables=True, nft=True, iptables_rules=False, nftables_rules=False)


def test_configured_backend_has_precedence() -> None:
    used = replace(BOTH, iptables_rules=True)
    assert select(configured('firewall_backend = "nftables"', "network.conf"), used) is (
        Backend.NFTABLES
    )


def test_unset_backend_is_none() -> None:
    assert configured("# firewall_backend = 'x'\n", "network.conf") is None


def test_unknown_backend_is_refused_with_its_line() -> None:
    with pytest.raises(ConfError, match=r"network\.conf:2: .*'pf' is not known"):
        configured("\nfirewall_backend = 'pf'\n", "network.conf")


def test_default_backend_is_iptables() -> None:
    assert select(None, BOTH) is Backend.IPTABLES


def test_native_nftables_rules_select_nftables() -> None:
    assert select(None, replace(BOTH, nftables_rules=True)) is Backend.NFTABLES


def test_iptables_is_preferred_to_nftables() -> None:
    assert select(None, replace(BOTH, nftables_rules=True, iptables_rules=True)) is Backend.IPTABLES


def test_missing_programs_are_not_selected() -> None:
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
def test_missing_configured_backend_is_named(setting: Backend | None, host: HostFirewalls) -> None:
    with pytest.raises(VirError, match="installed") as refused:
        select(setting, host)
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED


@pytest.mark.parametrize(
    ("version", "legacy"),
    [
        ("iptables v1.8.9 (nf_tables)", False),
        ("iptables v1.8.9 (legacy)", True),
        ("iptables v1.6.1", True),
    ],
)
def test_legacy_iptables_is_recognized_by_its_version(version: str, legacy: bool) -> None:
    assert is_legacy(version) is legacy
