"""Huge pages: the mounts of the host, the page size without one, and what QEMU is told."""

from __future__ import annotations

import json

import pytest

from conf.domain import parse_domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs
from supervisor.workers.qemu.argv.memory import backend
from supervisor.workers.qemu.start.hugepages import choose_default, mount_points

MEMINFO = "MemTotal: 100 kB\nHugepagesize:    2048 kB\n"
DIRS = {2048: "/huge/libvirt/qemu/1-d", 1048576: "/giant/libvirt/qemu/1-d"}
PAGE_2M = "<page size='2' unit='M'/>"
PAGE_1G = "<page size='1' unit='G'/>"


def props(
    pages: str, facts: EmulatorFacts, dirs: dict[int, str], *, source: str = "anonymous"
) -> dict[str, object]:
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1048576</memory><memoryBacking>"
        f"<hugepages>{pages}</hugepages><source type='{source}'/></memoryBacking>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
    inputs = LaunchInputs(
        id=1, domain_dir="/d", channel_dir="/c", memory_dir="/m",
        hugepage_dirs=dirs, default_hugepage=next(iter(dirs), 0),
    )  # fmt: skip
    planned = backend(Context(domain, facts, inputs), "pc.ram", 1048576, node=None)
    decoded: dict[str, object] = json.loads(json.dumps(planned))
    return {key: decoded.get(key) for key in ("qom-type", "mem-path", "hugetlbsize", "prealloc")}


@pytest.mark.parametrize(
    ("pages", "folder"), [("", DIRS[2048]), (PAGE_2M, DIRS[2048]), (PAGE_1G, DIRS[1048576])]
)
def test_memory_is_in_the_guests_folder_of_the_page_size(
    pages: str, folder: str, emulator_facts: EmulatorFacts
) -> None:
    found = props(pages, emulator_facts, DIRS)
    assert found["qom-type"] == "memory-backend-file"
    assert found["mem-path"] == folder
    assert found["prealloc"]


@pytest.mark.parametrize(
    ("pages", "dirs", "message"),
    [
        ("", {}, "hugetlbfs filesystem is not mounted or disabled by administrator config"),
        (PAGE_2M, {}, "hugetlbfs filesystem is not mounted"),
        (PAGE_1G, {2048: "/huge"}, "Unable to find any usable hugetlbfs mount for 1048576 KiB"),
    ],
)
def test_a_page_size_without_mount_is_refused(
    pages: str, dirs: dict[int, str], message: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError, match=message):
        props(pages, emulator_facts, dirs)


def test_memfd_needs_a_mount_only_for_its_page_size(emulator_facts: EmulatorFacts) -> None:
    assert props(PAGE_2M, emulator_facts, {}, source="memfd")["hugetlbsize"] == 2 << 20
    assert props("", emulator_facts, DIRS, source="memfd")["hugetlbsize"] == 2 << 20
    with pytest.raises(ConfError, match="not mounted"):
        props("", emulator_facts, {}, source="memfd")


def test_pages_of_the_systems_own_size_are_no_huge_pages(emulator_facts: EmulatorFacts) -> None:
    found = props("<page size='4' unit='K'/>", emulator_facts, {})
    assert found["qom-type"] == "memory-backend-ram"


def test_mounts_are_those_of_hugetlbfs() -> None:
    text = (
        "proc /proc proc rw 0 0\nh /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n"
        "h /mnt/huge\\040pages hugetlbfs rw 0 0\nbroken\n"
    )
    assert mount_points(text) == ["/dev/hugepages", "/mnt/huge pages"]


@pytest.mark.parametrize(
    ("sizes", "chosen"), [([1048576, 2048], 2048), ([1048576], 1048576), ([], 0)]
)
def test_the_default_is_the_kernels_page_size_where_it_is_mounted(
    sizes: list[int], chosen: int
) -> None:
    assert choose_default(sizes, MEMINFO) == chosen
