"""Legacy iptables through python-iptables: what iptables-legacy-save shows, the lock, faults."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any, Final

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall import Firewall, ForwardMode, NatRange, NetworkFacts
from supervisor.netd.firewall import iptables as programs
from supervisor.netd.firewall.iptables import Iptables
from supervisor.netd.firewall.iptables_save import parse_save
from supervisor.netd.firewall.rules import Family
from supervisor.netd.firewall.xtables import LegacyTables, XtablesProcess
from supervisor.netd.firewall.xtables_child import LOCK
from tests.clients.namespace import own_network, shown
from tests.python_iptables import NEEDED

SAVE: Final = ("iptables-legacy-save", "ip6tables-legacy-save")

pytestmark = [
    *NEEDED,
    pytest.mark.skipif(not all(map(shutil.which, SAVE)), reason="needs the legacy iptables"),
]
FACTS: Final = NetworkFacts(
    name="one",
    bridge="vvone",
    mode=ForwardMode.NAT,
    dev="vvout",
    subnets=(IPv4Network("192.168.122.0/24"), IPv6Network("fd00:1::/64")),
    nat=NatRange(ipv6=True),
    dhcp4=True,
    tftp=True,
)
NETWORKS: Final = (
    FACTS,
    replace(FACTS, name="two", bridge="vvtwo", mode=ForwardMode.ROUTE, dev=""),
    replace(FACTS, name="three", bridge="vvthree", mode=ForwardMode.ISOLATED, ipv6_blocked=False),
    replace(
        FACTS,
        name="four",
        bridge="vvfour",
        nat=NatRange(first=IPv4Address("10.9.0.7"), last=IPv4Address("10.9.0.9")),
    ),
)


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with own_network():
        yield


def saved() -> list[str]:
    """The rules of both families, in the order of each chain."""
    return [
        f"{program} {table} {chain} {' '.join(rule)}"
        for program in SAVE
        for table, content in sorted(parse_save(shown(program)).items())
        for chain, rules in sorted(content.rules.items())
        for rule in rules
    ]


def with_firewall(story: Any) -> None:
    async def told() -> None:
        tables = LegacyTables()
        try:
            await story(Firewall(Iptables(tables)), tables)
        finally:
            await tables.close()

    asyncio.run(told())


def test_rules_are_those_of_iptables_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    async def installed(firewall: Firewall, _: object) -> None:
        for facts in NETWORKS:
            await firewall.install(facts)
        await firewall.refresh(*NETWORKS)

    async def removed(firewall: Firewall, _: object) -> None:
        for facts in NETWORKS:
            await firewall.remove(facts)

    monkeypatch.setattr(
        programs, "PROGRAM", {Family.V4: "iptables-legacy", Family.V6: "ip6tables-legacy"}
    )
    asyncio.run(installed(Firewall(Iptables()), None))
    expected = saved()
    assert sum("vvone" in line for line in expected) > 20
    asyncio.run(removed(Firewall(Iptables()), None))
    empty = saved()
    with_firewall(installed)
    assert saved() == expected
    with_firewall(removed)
    assert saved() == empty


def test_repair_replaces_only_incomplete_rules() -> None:
    async def story(firewall: Firewall, _: object) -> None:
        for facts in NETWORKS:
            await firewall.install(facts)
        before = saved()
        shown("iptables-legacy", "-A", "FORWARD", "-m", "comment", "--comment", "mine", "-j", "LOG")
        shown("iptables-legacy", "-F", "LIBVIRT_FWI")
        assert saved() != before
        await firewall.refresh(*NETWORKS)
        assert [line for line in saved() if "mine" not in line] == before

    with_firewall(story)


def test_another_programs_lock_is_waited_for_but_not_for_ever() -> None:
    async def story(firewall: Firewall, _: object) -> None:
        await firewall.install(FACTS)
        lock = os.open(LOCK, os.O_RDONLY | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(VirError, match="another program holds") as refused:
            await firewall.remove(FACTS)
        assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
        assert 4 < time.monotonic() - began < 12
        removing = asyncio.ensure_future(firewall.remove(FACTS))
        await asyncio.sleep(0.3)
        assert not removing.done()
        os.close(lock)
        await removing

    with_firewall(story)


def test_a_process_that_ends_is_replaced_and_its_lock_released() -> None:
    async def story(firewall: Firewall, tables: LegacyTables) -> None:
        await firewall.install(FACTS)
        for process in tables.processes.values():
            os.kill(process.pid, 9)
        await firewall.remove(FACTS)
        assert not any("vvone" in line for line in saved())

    with_firewall(story)


def test_a_process_that_cannot_run_is_an_error_with_its_words() -> None:
    words = "import sys; sys.exit('there is no libiptc')"
    tables = LegacyTables(lambda: XtablesProcess((sys.executable, "-c", words)))

    async def story() -> None:
        with pytest.raises(VirError, match="there is no libiptc") as refused:
            await Firewall(Iptables(tables)).install(FACTS)
        assert refused.value.code is ErrorCode.INTERNAL_ERROR
        await tables.close()

    asyncio.run(story())
