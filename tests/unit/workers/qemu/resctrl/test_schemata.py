"""Which parts of caches a group gets, on a host that has some in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conf.domain.resctrl import CacheShare, MemoryShare
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers.qemu.resctrl.host import HostResctrl, parse_schemata, read_host
from supervisor.workers.qemu.resctrl.schemata import plan_schemata, runs
from tests.unit.workers.qemu.resctrl.resctrl_tree import resctrl_tree


@pytest.fixture
def host(tmp_path: Path) -> HostResctrl:
    return read_host(*resctrl_tree(tmp_path))


def share(size: int, cache: int = 0, *, level: int = 3, scope: str = "both") -> CacheShare:
    return CacheShare(id=cache, level=level, type=scope, size=size, unit="MiB")


def test_the_host_is_read(host: HostResctrl) -> None:
    control = host.caches["L3"]
    assert (control.bits, control.min_bits, control.granularity(1)) == (16, 2, 2 << 20)
    assert host.bandwidth is not None
    assert (host.bandwidth.granularity, host.bandwidth.minimum) == (10, 20)
    assert host.default == {"L3": {0: "0fff", 1: "00ff"}, "MB": {0: "100", 1: "100"}}


def test_a_group_gets_free_bits_and_for_all_else_what_the_default_group_has(
    host: HostResctrl,
) -> None:
    planned = plan_schemata(host, [share(4)], [MemoryShare(id=1, bandwidth=30)])
    assert planned == "L3:0=3000;1=00ff\nMB:0=100;1=30\n"
    taken = replace(host, groups=(parse_schemata("L3:0=3000;1=100"),))
    assert plan_schemata(taken, [share(4), share(4, 1)], []).startswith("L3:0=c000;1=600\n")


def test_the_shortest_free_run_is_used(host: HostResctrl) -> None:
    run = replace(host, default={"L3": {0: "c3c0"}})  # free: 0-5, 10-13
    assert plan_schemata(run, [share(8)], []) == "L3:0=3c00\n"
    assert plan_schemata(run, [share(6)], []) == "L3:0=1c00\n"
    assert plan_schemata(run, [share(12)], []) == "L3:0=3f\n"
    assert runs(0b1011) == [(0, 2), (3, 1)]


@pytest.mark.parametrize(
    ("caches", "nodes", "words"),
    [
        ([share(10)], [], "Not enough room for allocation of 10485760 bytes for level 3 cache 0"),
        ([share(3)], [], "size 3145728 is not divisible by granularity 2097152"),
        ([share(2)], [], "smaller than the minimum allowed allocation 4194304"),
        ([share(4, 7)], [], "Cache with id 7 does not exists for level 3"),
        ([share(4, level=2)], [], "Cache level 2 does not support tuning"),
        ([share(4, scope="code")], [], "does not support tuning for scope type 'code'"),
        ([], [MemoryShare(id=0, bandwidth=25)], "size 25 is not divisible by granularity 10"),
        ([], [MemoryShare(id=0, bandwidth=10)], "smaller than the minimum allowed allocation 20"),
        ([], [MemoryShare(id=9, bandwidth=30)], "id 9 does not exist, max controller id 1"),
    ],
)
def test_what_the_host_cannot_do_has_libvirts_code_and_words(
    host: HostResctrl, caches: list[CacheShare], nodes: list[MemoryShare], words: str
) -> None:
    with pytest.raises(VirError, match=words) as refused:
        plan_schemata(host, caches, nodes)
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED
    assert refused.value.domain is ErrorDomain.RESCTRL


def test_a_host_without_resctrl_and_one_without_bandwidth_say_so(
    host: HostResctrl, tmp_path: Path
) -> None:
    with pytest.raises(VirError, match="Resource control is not supported on this host"):
        plan_schemata(read_host(tmp_path / "none"), [share(4)], [])
    with pytest.raises(VirError, match="RDT Memory Bandwidth allocation unsupported"):
        plan_schemata(replace(host, bandwidth=None), [], [MemoryShare(id=0, bandwidth=30)])
