"""What is read of a host's /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.hostd.node.node import CacheBank, Node, Topology


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def host(tmp_path: Path) -> Node:
    """Two cells with one socket each, two cores of two threads; 2 MiB huge pages."""
    cpus = tmp_path / "sys/devices/system/cpu"
    write(cpus / "present", "0-9")
    write(cpus / "online", "0-7")
    for number in range(8):
        folder = cpus / f"cpu{number}"
        write(folder / "topology/physical_package_id", str(number // 4))
        write(folder / "topology/die_id", "0")
        write(folder / "topology/core_id", str(number % 4 // 2))
        first = number // 2 * 2
        write(folder / "topology/thread_siblings_list", f"{first}-{first + 1}")
        shared = number // 4 * 4
        write(folder / "cache/index3/level", "3")
        write(folder / "cache/index3/id", str(number // 4))
        write(folder / "cache/index3/type", "Unified")
        write(folder / "cache/index3/size", "8192K")
        write(folder / "cache/index3/shared_cpu_list", f"{shared}-{shared + 3}")
    for cell in range(2):
        folder = tmp_path / f"sys/devices/system/node/node{cell}"
        write(folder / "cpulist", f"{cell * 4}-{cell * 4 + 3}")
        write(folder / "distance", "10 20" if cell == 0 else "20 10")
        write(folder / "meminfo", f"Node {cell} MemTotal: 8192 kB\nNode {cell} MemFree: 4096 kB")
        write(folder / "hugepages/hugepages-2048kB/nr_hugepages", "2")
        write(folder / "hugepages/hugepages-2048kB/free_hugepages", "1")
    write(tmp_path / "proc/stat", "cpu  10 20 30 40 50 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0")
    write(
        tmp_path / "proc/meminfo",
        "MemTotal: 16384 kB\nMemFree: 8192 kB\nBuffers: 12 kB\nCached: 34 kB",
    )
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2596.146\n\nprocessor\t: 1")
    return Node(tmp_path)


def test_the_topology_counts_cells_sockets_cores_and_threads(host: Node) -> None:
    assert host.topology() == Topology(cells=2, sockets=1, dies=1, cores=2, threads=2)


def test_a_cell_knows_its_memory_pages_distances_and_processors(host: Node) -> None:
    first, second = host.cells()
    assert (first.memory_kib, first.free_kib) == (8192, 4096)
    assert [(p.size_kib, p.total, p.free) for p in first.pages][1] == (2048, 2, 1)
    assert second.distances == ((0, 20), (1, 10))
    assert [processor.number for processor in second.processors] == [4, 5, 6, 7]


def test_processor_times_are_nanoseconds_of_kernel_user_idle_and_waiting(host: Node) -> None:
    tick = 10_000_000
    assert host.cpu_times() == {
        "kernel": 43 * tick,
        "user": 30 * tick,
        "idle": 40 * tick,
        "iowait": 50 * tick,
    }
    assert host.cpu_times(0)["idle"] == 4 * tick
    with pytest.raises(KeyError):
        host.cpu_times(64)


def test_memory_of_a_cell_that_is_not_there_is_an_error(host: Node) -> None:
    assert host.memory() == {"total": 16384, "free": 8192, "buffers": 12, "cached": 34}
    assert host.memory(1) == {"total": 8192, "free": 4096}
    with pytest.raises(KeyError):
        host.memory(2)


def test_caches_are_listed_once_for_those_that_share_them(host: Node) -> None:
    assert host.caches() == [
        CacheBank(0, 3, "both", 8192, "0-3"),
        CacheBank(1, 3, "both", 8192, "4-7"),
    ]


def test_a_host_without_numa_is_one_cell(tmp_path: Path) -> None:
    write(tmp_path / "sys/devices/system/cpu/online", "0")
    write(tmp_path / "proc/meminfo", "MemTotal: 100 kB\nMemFree: 40 kB")
    (cell,) = Node(tmp_path).cells()
    assert (cell.number, cell.memory_kib, cell.free_kib) == (0, 100, 40)


def test_ksm_is_described_as_far_as_the_kernel_has_it(tmp_path: Path) -> None:
    assert Node(tmp_path).shared_memory() == {}
    for name, text in (("pages_to_scan", "100\n"), ("full_scans", "7\n"), ("run", "0\n")):
        write(tmp_path / "sys/kernel/mm/ksm" / name, text)
    assert Node(tmp_path).shared_memory() == {"pages_to_scan": 100, "full_scans": 7}
