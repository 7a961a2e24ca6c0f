"""CPUs that come or go are noticed, and nothing else wakes the process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.hostd.node.cpu_changes import CpuChanges, attach_filter

ABOUT_CPUS = (
    b"online@/devices/system/cpu/cpu1\0ACTION=online\0",
    b"offline@/devices/system/cpu/cpu1\0ACTION=offline\0",
    b"add@/devices/system/cpu/cpu8\0ACTION=add\0",
    b"remove@/devices/system/cpu/cpu8\0ACTION=remove\0",
)
OTHERS = (
    b"add@/devices/virtual/net/vnet0\0ACTION=add\0",
    b"remove@/devices/virtual/net/vnet0\0ACTION=remove\0",
    b"change@/devices/system/cpu/cpu1\0ACTION=change\0",
    b"add@/a\0",
    b"",
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel's end, and one that takes what the filter lets through."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    attach_filter(ours)
    with kernel, ours:
        yield kernel, ours


@pytest.fixture
def whole_host(tmp_path: Path) -> Path:
    uid_map = tmp_path / "uid_map"
    uid_map.write_text("         0          0 4294967295\n")
    return uid_map


@pytest.mark.parametrize("message", ABOUT_CPUS)
async def test_a_cpu_that_comes_or_goes_is_noticed(
    ends: tuple[socket.socket, socket.socket], whole_host: Path, message: bytes
) -> None:
    changed = asyncio.Event()
    changes = CpuChanges(changed.set, lambda: ends[1])
    states = [changes.is_watching]
    changes.watch(whole_host)
    states.append(changes.is_watching)
    ends[0].send(message)
    await asyncio.wait_for(changed.wait(), 5)
    changes.close()
    assert [*states, changes.is_watching] == [False, True, False]


@pytest.mark.parametrize("message", OTHERS)
def test_other_devices_are_not(ends: tuple[socket.socket, socket.socket], message: bytes) -> None:
    ends[0].send(message)
    with pytest.raises(BlockingIOError):
        ends[1].recv(4096)


async def test_nothing_is_watched_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    uid_map = tmp_path / "uid_map"
    uid_map.write_text("0 100000 65536\n")  # of a user namespace

    def refuse() -> socket.socket:
        raise OSError("no such socket")

    for place, changes in (
        (uid_map, CpuChanges(lambda: None)),
        (tmp_path / "missing", CpuChanges(lambda: None)),
        (Path("/proc/self/uid_map"), CpuChanges(lambda: None, refuse)),
    ):
        changes.watch(place)
        assert not changes.is_watching
