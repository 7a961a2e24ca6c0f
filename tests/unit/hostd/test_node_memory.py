"""KSM's settings and pools of huge pages are changed, and what the kernel does not do is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.params import UInt, ULLong, params
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.hostd.calls.node_memory import NodeMemoryCalls
from supervisor.hostd.node.node import Node
from supervisor.messages.calls import Client, Identity

CALL = ClientCall(
    Client(id="1", identity=Identity(), read_only=False, uri="qemu:///system", driver="qemu")
)
POOL = "hugepages-2048kB/nr_hugepages"
SET = 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host of two cells with huge pages and KSM, which cannot merge across cells."""
    for name, text in {
        "sys/kernel/mm/ksm/pages_to_scan": "100",
        "sys/kernel/mm/ksm/sleep_millisecs": "20",
        f"sys/kernel/mm/hugepages/{POOL}": "7",
        f"sys/devices/system/node/node0/hugepages/{POOL}": "3",
        f"sys/devices/system/node/node1/hugepages/{POOL}": "4",
        "sys/devices/system/node/node0/cpulist": "0",
        "sys/devices/system/node/node1/cpulist": "1",
        "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 9 kB\nNode 0 MemFree: 1 kB",
        "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: 9 kB\nNode 1 MemFree: 1 kB",
        "sys/devices/system/node/node0/distance": "10 20",
        "sys/devices/system/node/node1/distance": "20 10",
        "sys/devices/system/cpu/online": "0-1",
        "sys/devices/system/cpu/present": "0-1",
        "proc/meminfo": "MemTotal: 18 kB\nMemFree: 2 kB",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return tmp_path


def number(path: Path) -> int:
    return int(path.read_text().split()[0])


def pools(root: Path) -> list[int]:
    cells = root / "sys/devices/system/node"
    return [number(cells / f"node{cell}/hugepages" / POOL) for cell in (0, 1)]


def settings(**values: int) -> list[TypedParam]:
    return params({f"shm_{name}": UInt(value) for name, value in values.items()})


def test_settings_of_ksm_are_written(root: Path) -> None:
    calls = NodeMemoryCalls(Node(root))
    calls.node_set_memory_parameters(CALL, settings(pages_to_scan=250, sleep_millisecs=50), 0)
    ksm = root / "sys/kernel/mm/ksm"
    assert (number(ksm / "pages_to_scan"), number(ksm / "sleep_millisecs")) == (250, 50)


@pytest.mark.parametrize(
    ("parameters", "flags", "code"),
    [
        (settings(pages_to_scan=1, merge_across_nodes=1), 0, ErrorCode.OPERATION_INVALID),
        (params({"shm_pages_shared": ULLong(1)}), 0, ErrorCode.ARGUMENT_UNSUPPORTED),
        (params({"shm_pages_to_scan": ULLong(1)}), 0, ErrorCode.INVALID_ARG),
        (settings(pages_to_scan=1), 1, ErrorCode.INVALID_ARG),
    ],
)
def test_what_cannot_be_set_changes_nothing(
    root: Path, parameters: list[TypedParam], flags: int, code: ErrorCode
) -> None:
    calls = NodeMemoryCalls(Node(root))
    with pytest.raises(VirError) as refused:
        calls.node_set_memory_parameters(CALL, parameters, flags)
    assert refused.value.code is code
    assert number(root / "sys/kernel/mm/ksm/pages_to_scan") == 100


async def test_pages_are_added_to_cells_and_to_the_host(root: Path) -> None:
    calls = NodeMemoryCalls(Node(root))
    assert await calls.node_alloc_pages(CALL, [2048], [5], 0, 9, 0) == 2
    assert pools(root) == [8, 9]
    assert await calls.node_alloc_pages(CALL, [2048], [1], 1, 1, SET) == 1
    assert pools(root) == [8, 1]
    assert await calls.node_alloc_pages(CALL, [2048], [0], 0, 1, 0) == 1  # nothing is left to do
    assert await calls.node_alloc_pages(CALL, [2048], [2], -1, 1, 0) == 1
    assert number(root / "sys/kernel/mm/hugepages" / POOL) == 9
    assert pools(root) == [8, 1]


@pytest.mark.parametrize(
    ("size", "start", "flags", "code"),
    [
        (2048, 2, 0, ErrorCode.INTERNAL_ERROR),
        (2048, -2, 0, ErrorCode.INTERNAL_ERROR),
        (4, 0, 0, ErrorCode.OPERATION_UNSUPPORTED),
        (77, 0, 0, ErrorCode.OPERATION_FAILED),
        (2048, 0, 2, ErrorCode.INVALID_ARG),
    ],
)
async def test_pools_that_are_not_there_are_refused(
    root: Path, size: int, start: int, flags: int, code: ErrorCode
) -> None:
    calls = NodeMemoryCalls(Node(root))
    with pytest.raises(VirError) as refused:
        await calls.node_alloc_pages(CALL, [size], [1], start, 1, flags)
    assert refused.value.code is code
    assert pools(root) == [3, 4]


class FullNode(Node):
    """A host without room for more huge pages: the kernel takes the number and does nothing."""

    def set_page_pool(self, cell: int, size_kib: int, count: int) -> None:
        """Do nothing."""


async def test_a_kernel_that_gives_fewer_pages_is_an_error(root: Path) -> None:
    calls = NodeMemoryCalls(FullNode(root))
    with pytest.raises(VirError, match="Allocated only 3"):
        await calls.node_alloc_pages(CALL, [2048], [5], 0, 1, 0)
