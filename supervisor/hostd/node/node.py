"""CPU topology, NUMA cells, memory and CPU counters of the host.

Owns: reading /proc and /sys, at every call: CPUs and huge pages change at run time.
May touch: /proc and /sys, to read. May not touch: guests, the bus, QEMU.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.types.cpuset import parse_cpulist
from supervisor.runtime.kernel_files import read_file
from supervisor.runtime.procfs import TICK_NS

CPU_DIRECTORY: Final = re.compile(r"cpu(\d+)\Z")
NODE_DIRECTORY: Final = re.compile(r"node(\d+)\Z")
#: Columns of /proc/stat (user nice system idle iowait irq softirq) as libvirt's counters.
CPU_TIMES: Final = ("user", "user", "kernel", "idle", "iowait", "kernel", "kernel")
MEMORY_FIELDS: Final = (
    ("total", "MemTotal"),
    ("free", "MemFree"),
    ("buffers", "Buffers"),
    ("cached", "Cached"),
)
CELL_FIELDS: Final = MEMORY_FIELDS[:2]


@dataclass(frozen=True, slots=True)
class Processor:
    """One online CPU."""

    number: int
    cell: int
    socket: int
    die: int
    core: int
    siblings: tuple[int, ...]  # hardware threads of the core, itself included


@dataclass(frozen=True, slots=True)
class Pages:
    """Memory pages of one size."""

    size_kib: int
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One NUMA cell."""

    number: int
    memory_kib: int
    free_kib: int
    pages: tuple[Pages, ...]
    distances: tuple[tuple[int, int], ...]  # (cell, distance)
    processors: tuple[Processor, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The topology as virNodeInfo has it: uniform sockets."""

    cells: int
    sockets: int  # of a cell
    dies: int
    cores: int  # of a socket
    threads: int  # of a core


@dataclass(frozen=True, slots=True)
class CacheBank:
    """A cache and the CPUs that share it."""

    identifier: int
    level: int
    kind: str  # "both", "code" or "data"
    size_kib: int
    cpus: str  # as the kernel lists them: "0-1"


KSM: Final = (
    "pages_to_scan", "sleep_millisecs", "pages_shared", "pages_sharing", "pages_unshared",
    "pages_volatile", "full_scans", "merge_across_nodes",
)  # fmt: skip


class Node:
    """The host whose /proc and /sys are under `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._cpus = root / "sys/devices/system/cpu"
        self._cells = root / "sys/devices/system/node"
        self._proc = root / "proc"
        self._huge = root / "sys/kernel/mm/hugepages"
        self._ksm = root / "sys/kernel/mm/ksm"

    def shared_memory(self) -> dict[str, int]:
        """Read the settings and counters of KSM by the kernel's names; those that it has."""
        values = {}
        for name in KSM:
            try:
                values[name] = int((self._ksm / name).read_text())
            except (OSError, ValueError):
                continue
        return values

    def set_shared_memory(self, name: str, value: int) -> None:
        """Write a setting of KSM by the kernel's name.

        Raises:
            FileNotFoundError: this kernel does not have it. OSError: it refuses the value.
        """
        _write(self._ksm / name, value)

    def page_pool(self, cell: int, size_kib: int) -> int:
        """Read how many huge pages of a size a cell has, or for -1 the host.

        Raises:
            FileNotFoundError: it has none of that size.
        """
        return int(self._pool(cell, size_kib).read_text())

    def set_page_pool(self, cell: int, size_kib: int, count: int) -> None:
        """Have the kernel keep that many huge pages; it may get fewer.

        Raises:
            OSError: it refuses.
        """
        _write(self._pool(cell, size_kib), count)

    def _pool(self, cell: int, size_kib: int) -> Path:
        folder = self._huge if cell < 0 else self._cells / f"node{cell}/hugepages"
        return folder / f"hugepages-{size_kib}kB/nr_hugepages"

    def present(self) -> tuple[int, ...]:
        """Return the present CPUs."""
        return parse_cpulist(self._text(self._cpus / "present"))

    def online(self) -> tuple[int, ...]:
        """Return the online CPUs."""
        return parse_cpulist(self._text(self._cpus / "online"))

    def processors(self) -> list[Processor]:
        """Return every online CPU with its place in the topology."""
        cell_of = {cpu: cell for cell, cpus in self._cell_cpus() for cpu in cpus}
        return [self._processor(number, cell_of.get(number, 0)) for number in self.online()]

    def topology(self) -> Topology:
        """Count sockets, cores and threads; where sockets differ the largest counts."""
        processors = self.processors()
        cells = max(1, len({p.cell for p in processors}))
        sockets = len({(p.cell, p.socket) for p in processors})
        dies = max((len({p.die for p in same}) for same in by_socket(processors)), default=1)
        cores = max(
            (len({(p.die, p.core) for p in same}) for same in by_socket(processors)), default=1
        )
        threads = max((len(p.siblings) for p in processors), default=1)
        return Topology(cells, max(1, sockets // cells), dies, max(1, cores // dies), threads)

    def cells(self) -> list[Cell]:
        """Return the NUMA cells; a kernel without NUMA has one."""
        processors = self.processors()
        if not self._cells.is_dir():
            memory = self.memory()
            pages = (
                self._small_pages(memory["total"], memory["free"], ()),
                *self._huge_pages(self._huge),
            )
            return [Cell(0, memory["total"], memory["free"], pages, ((0, 10),), tuple(processors))]
        return [self._cell(number, processors) for number, _ in self._cell_cpus()]

    def memory(self, cell: int | None = None) -> dict[str, int]:
        """Return memory counters in KiB: total, free; of the whole host buffers and cached.

        Raises:
            KeyError: no such cell.
        """
        if cell is None:
            return self._counters(self._proc / "meminfo", MEMORY_FIELDS)
        path = self._cells / f"node{cell}" / "meminfo"
        if not path.exists():
            if cell == 0 and not self._cells.is_dir():
                return self._counters(self._proc / "meminfo", CELL_FIELDS)
            raise KeyError(cell)
        return self._counters(path, CELL_FIELDS)

    def cpu_times(self, number: int | None = None) -> dict[str, int]:
        """Return kernel, user, idle and iowait time since boot in ns; of one CPU or all.

        Raises:
            KeyError: no such CPU.
        """
        name = "cpu" if number is None else f"cpu{number}"
        for line in self._text(self._proc / "stat").splitlines():
            fields = line.split()
            if fields and fields[0] == name:
                times = dict.fromkeys(("kernel", "user", "idle", "iowait"), 0)
                for kind, ticks in zip(CPU_TIMES, fields[1:], strict=False):
                    times[kind] += int(ticks) * TICK_NS
                return times
        raise KeyError(number)

    def cpu_fields(self) -> dict[str, str]:
        """Return the fields of the first CPU in /proc/cpuinfo."""
        fields: dict[str, str] = {}
        for line in self._text(self._proc / "cpuinfo").splitlines():
            name, colon, value = line.partition(":")
            if not colon:
                break
            fields[name.strip()] = value.strip()
        return fields

    def mhz(self) -> int:
        """Return the first CPU's frequency in MHz; 0 where cpuinfo has none (ARM)."""
        text = self.cpu_fields().get("cpu MHz", "0")
        try:
            return int(float(text))
        except ValueError:
            return 0

    def caches(self) -> list[CacheBank]:
        """Return the last-level caches, one for each group of CPUs that shares one."""
        banks: dict[tuple[int, str], CacheBank] = {}
        for number in self.online():
            for directory in sorted((self._cpus / f"cpu{number}" / "cache").glob("index*")):
                bank = self._cache(directory)
                banks.setdefault((bank.level, bank.cpus + bank.kind), bank)
        deepest = max((level for level, _ in banks), default=0)
        return [bank for (level, _), bank in sorted(banks.items()) if level == deepest >= 3]

    def _cache(self, directory: Path) -> CacheBank:
        kind = {"Unified": "both", "Instruction": "code", "Data": "data"}
        size = self._text(directory / "size")
        factor = 1024 if size.endswith("M") else 1
        return CacheBank(
            identifier=self._number(directory / "id", 0),
            level=self._number(directory / "level", 0),
            kind=kind.get(self._text(directory / "type"), "both"),
            size_kib=int(size.rstrip("KM") or 0) * factor,
            cpus=self._text(directory / "shared_cpu_list"),
        )

    def _processor(self, number: int, cell: int) -> Processor:
        directory = self._cpus / f"cpu{number}" / "topology"
        siblings = parse_cpulist(self._text(directory / "thread_siblings_list")) or (number,)
        return Processor(
            number=number,
            cell=cell,
            socket=self._number(directory / "physical_package_id", 0),
            die=self._number(directory / "die_id", 0),
            core=self._number(directory / "core_id", number),
            siblings=siblings,
        )

    def _cell_cpus(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        numbers = [m for m in map(NODE_DIRECTORY.match, list_directory(self._cells)) if m]
        for number in sorted(int(match[1]) for match in numbers):
            yield number, parse_cpulist(self._text(self._cells / f"node{number}" / "cpulist"))

    def _cell(self, number: int, processors: list[Processor]) -> Cell:
        directory = self._cells / f"node{number}"
        memory = self.memory(number)
        huge = self._huge_pages(directory / "hugepages")
        distances = self._text(directory / "distance").split()
        others = [cell for cell, _ in self._cell_cpus()]
        return Cell(
            number=number,
            memory_kib=memory["total"],
            free_kib=memory["free"],
            pages=(self._small_pages(memory["total"], memory["free"], huge), *huge),
            distances=tuple(zip(others, map(int, distances), strict=False)),
            processors=tuple(p for p in processors if p.cell == number),
        )

    def _small_pages(self, total_kib: int, free_kib: int, huge: tuple[Pages, ...]) -> Pages:
        size = os.sysconf("SC_PAGESIZE") // 1024
        taken = sum(pages.total * pages.size_kib for pages in huge)
        return Pages(size, max(0, total_kib - taken) // size, free_kib // size)

    def _huge_pages(self, directory: Path) -> tuple[Pages, ...]:
        pools = [
            Pages(
                int(name.removeprefix("hugepages-").removesuffix("kB")),
                self._number(directory / name / "nr_hugepages", 0),
                self._number(directory / name / "free_hugepages", 0),
            )
            for name in list_directory(directory)
            if name.startswith("hugepages-")
        ]
        return tuple(sorted(pools, key=lambda pages: pages.size_kib))

    def _counters(self, path: Path, fields: tuple[tuple[str, str], ...]) -> dict[str, int]:
        text = self._text(path)
        counters = {}
        for name, kernel_name in fields:
            match = re.search(rf"\b{kernel_name}:\s+(\d+)", text)
            counters[name] = int(match[1]) if match else 0
        return counters

    def _text(self, path: Path) -> str:
        try:
            return read_file(str(path))
        except OSError:
            return ""

    def _number(self, path: Path, default: int) -> int:
        text = self._text(path)
        return int(text) if text.lstrip("-").isdigit() else default


def by_socket(processors: list[Processor]) -> list[list[Processor]]:
    """Group CPUs by socket."""
    groups: dict[tuple[int, int], list[Processor]] = {}
    for processor in processors:
        groups.setdefault((processor.cell, processor.socket), []).append(processor)
    return list(groups.values())


def list_directory(path: Path) -> list[str]:
    """List a directory, sorted; [] when it does not exist."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _write(path: Path, value: int) -> None:
    """Write a number to a file of the kernel's, which must exist."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
