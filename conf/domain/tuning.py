"""What the host gives a guest and how: memory, vcpus, threads, their places and weights.

Source: libvirt 9.0 formatdomain, "Memory Allocation", "CPU Allocation", "IOThreads Allocation",
"CPU Tuning", "Memory Tuning", "NUMA Node Tuning", "Block I/O Tuning", "Memory Backing".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from conf.domain.resctrl import CacheTune, MemoryTune
from conf.errors import ConfError
from conf.mapper import Mode, Refusal, When, attribute, child, children, element, flag, text
from conf.types.bool import on_off as read_on_off
from conf.types.bool import write_on_off, yes_no
from conf.types.cpuset import nonempty_cpuset
from conf.types.enum import one_of
from conf.types.integer import (
    int_signed,
    int_unsigned,
    long_signed,
    uint,
    uint_positive,
    unsigned,
    unsigned_of,
)
from conf.types.repeats import first_repeated
from conf.types.size import Amount, to_kib

NUMA_MODES = one_of(
    "strict",
    "preferred",
    "interleave",
    "restrictive",
    unknown="Unsupported NUMA memory tuning mode '{}'",
)
PLACEMENTS = one_of("static", "auto")
NUMA_PLACEMENTS = one_of("static", "auto", unknown="Unsupported NUMA memory placement mode '{}'")
SCHEDULERS = one_of("batch", "idle", "fifo", "rr")
#: Schedulers that have priorities.
REALTIME: Final = When("scheduler", ("fifo", "rr"))


@element("resource")
@dataclass(slots=True, kw_only=True)
class Resource:
    """<resource>: where the guest's cgroup is, and how the fabric names its traffic."""

    partition: str | None = text("partition")
    fibre_channel_app: str | None = attribute("fibrechannel/@appid", empty_is_absent=True)

    def after_read(self) -> None:
        """Refuse an element that says nothing.

        Raises:
            ConfError: "internal", for which libvirt 9.0 has no words.
        """
        if self.partition is None and self.fibre_channel_app is None:
            detail = "<resource> has neither <partition> nor <fibrechannel appid=>"
            raise ConfError("internal", detail, "domain/resource")


@element("maxMemory")
@dataclass(slots=True, kw_only=True)
class MaxMemory:
    """<maxMemory>: how far memory can be plugged in while the guest runs."""

    slots: int = attribute("@slots", read=uint, default=0)
    unit: str = attribute("@unit", default="KiB")
    amount: int = text(".", read=unsigned_of(64), default=0)

    def after_read(self) -> None:
        """Count in KiB."""
        self.amount, self.unit = to_kib(self.amount, self.unit), "KiB"


@element("memory")
@dataclass(slots=True, kw_only=True)
class BootMemory:
    """<memory>: what the guest boots with."""

    dump_core: bool | None = attribute("@dumpCore", read=read_on_off, write=write_on_off)
    unit: str = attribute("@unit", default="KiB")
    amount: int = text(".", read=unsigned_of(64), default=0)

    def after_read(self) -> None:
        """Count in KiB."""
        self.amount, self.unit = to_kib(self.amount, self.unit), "KiB"


@element("page")
@dataclass(slots=True, kw_only=True)
class HugePage:
    """<page>: a size of huge pages, and the guest's cells that have it."""

    size: int = attribute(
        "@size",
        read=unsigned,
        default=0,
        required=Refusal("xml", "missing element or attribute './@size'"),
    )  # KiB once read
    unit: str = attribute("@unit", default="KiB")
    nodeset: str | None = attribute("@nodeset", read=nonempty_cpuset("nodeset"))

    def after_read(self) -> None:
        """Count in KiB.

        Raises:
            ConfError: "xml_detail": there are no such pages.
        """
        self.size, self.unit = to_kib(self.size, self.unit), "KiB"
        if not self.size:
            raise ConfError("xml_detail", "hugepage size can't be zero", "hugepages/page/@size")


@element("hugepages")
@dataclass(slots=True, kw_only=True)
class HugePages:
    """<hugepages>."""

    pages: list[HugePage] = children("page", HugePage)


@element("memoryBacking", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class MemoryBacking:
    """<memoryBacking>: what the guest's memory is made of."""

    hugepages: HugePages | None = child("hugepages", HugePages, merge=True)
    nosharepages: bool = flag("nosharepages")
    locked: bool = flag("locked")
    source: str | None = attribute(
        "source/@type",
        read=one_of("file", "anonymous", "memfd", unknown="unknown memoryBacking/source/type '{}'"),
        empty_is_absent=True,
    )
    access: str | None = attribute(
        "access/@mode",
        read=one_of("shared", "private", unknown="unknown memoryBacking/access/mode '{}'"),
        empty_is_absent=True,
    )
    allocation_mode: str | None = attribute(
        "allocation/@mode",
        read=one_of("immediate", "ondemand", unknown="unknown memoryBacking/allocation/mode '{}'"),
        empty_is_absent=True,
    )
    allocation_threads: int | None = attribute("allocation/@threads", read=uint_positive)
    discard: bool = flag("discard")


@element("memtune", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Memtune:
    """<memtune>: limits of the host's memory controller."""

    hard_limit: Amount | None = child("hard_limit", Amount, empty_is_absent=True)
    soft_limit: Amount | None = child("soft_limit", Amount, empty_is_absent=True)
    min_guarantee: Amount | None = child("min_guarantee", Amount, empty_is_absent=True)
    swap_hard_limit: Amount | None = child("swap_hard_limit", Amount, empty_is_absent=True)


@element("device")
@dataclass(slots=True, kw_only=True)
class BlkioDevice:
    """One device's share of the host's disks."""

    path: str | None = text("path")
    weight: int | None = text("weight", read=unsigned)
    read_iops_sec: int | None = text("read_iops_sec", read=unsigned)
    write_iops_sec: int | None = text("write_iops_sec", read=unsigned)
    read_bytes_sec: int | None = text("read_bytes_sec", read=unsigned)
    write_bytes_sec: int | None = text("write_bytes_sec", read=unsigned)


def blkio_weight(text: str) -> int | None:
    """Read the weight of the whole guest; libvirt leaves one out that is no number of 32 bits."""
    try:
        return uint(text)
    except ValueError:
        return None


@element("blkiotune", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Blkiotune:
    """<blkiotune>: the guest's share of the host's disks."""

    weight: int | None = text("weight", read=blkio_weight, omit=0)
    devices: list[BlkioDevice] = children("device", BlkioDevice)


def vcpu_count(text: str) -> int:
    """Read how many vcpus there can be.

    Raises:
        ConfError: "xml": it is no number of 32 bits.
    """
    try:
        return uint(text)
    except ValueError:
        detail = "maximum vcpus count must be an integer"
        raise ConfError("xml", detail, "domain/vcpu") from None


@element("vcpu")
@dataclass(slots=True, kw_only=True)
class Vcpu:
    """<vcpu>: the most processors there can be, and how many there are now."""

    placement: str | None = attribute("@placement", read=PLACEMENTS)
    cpuset: str | None = attribute("@cpuset", read=nonempty_cpuset("cpuset"))
    current: int | None = attribute("@current", read=uint)
    maximum: int = text(".", read=vcpu_count, default=1)

    def before_write(self, _: Mode) -> Vcpu:
        """Leave out the processors that numad advised for this run."""
        return replace(self, cpuset=None) if self.placement == "auto" and self.cpuset else self


@element("vcpu")
@dataclass(slots=True, kw_only=True)
class VcpuState:
    """<vcpu> in <vcpus>: one processor."""

    id: int = attribute("@id", read=uint, default=0)
    enabled: bool = attribute("@enabled", read=yes_no, default=False)
    hotpluggable: bool | None = attribute("@hotpluggable", read=yes_no)
    order: int | None = attribute("@order", read=uint)


@element("iothread")
@dataclass(slots=True, kw_only=True)
class IoThread:
    """<iothread>: a thread for disks."""

    id: int = attribute("@id", read=uint_positive, default=1, required=True)
    thread_pool_min: int | None = attribute("@thread_pool_min", read=int_unsigned)
    thread_pool_max: int | None = attribute("@thread_pool_max", read=int_unsigned)


@element("defaultiothread", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class DefaultIoThread:
    """<defaultiothread>: QEMU's main thread's pool."""

    thread_pool_min: int | None = attribute("@thread_pool_min", read=int_unsigned)
    thread_pool_max: int | None = attribute("@thread_pool_max", read=int_unsigned)


@element("vcpupin")
@dataclass(slots=True, kw_only=True)
class VcpuPin:
    """<vcpupin>."""

    vcpu: int = attribute("@vcpu", read=uint, default=0, required=True)
    cpuset: str = attribute(
        "@cpuset",
        read=nonempty_cpuset("cpuset"),
        default="",
        required=Refusal("internal", "missing cpuset for vcpupin"),
    )


@element("iothreadpin")
@dataclass(slots=True, kw_only=True)
class IoThreadPin:
    """<iothreadpin>."""

    iothread: int = attribute("@iothread", read=uint, default=0, required=True)
    cpuset: str = attribute(
        "@cpuset",
        read=nonempty_cpuset("cpuset"),
        default="",
        required=Refusal("internal", "missing cpuset for iothreadpin"),
    )


@element("vcpusched")
@dataclass(slots=True, kw_only=True)
class VcpuSched:
    """<vcpusched>."""

    vcpus: str = attribute(
        "@vcpus",
        read=nonempty_cpuset("vcpus"),
        default="",
        required=Refusal("xml", "Missing attribute 'vcpus' in element 'vcpusched'"),
    )
    scheduler: str = attribute("@scheduler", read=SCHEDULERS, default="", required=True)
    priority: int | None = attribute("@priority", read=int_signed, when=REALTIME)


@element("iothreadsched")
@dataclass(slots=True, kw_only=True)
class IoThreadSched:
    """<iothreadsched>."""

    iothreads: str = attribute(
        "@iothreads",
        read=nonempty_cpuset("iothreads"),
        default="",
        required=Refusal("xml", "Missing attribute 'iothreads' in element 'iothreadsched'"),
    )
    scheduler: str = attribute("@scheduler", read=SCHEDULERS, default="", required=True)
    priority: int | None = attribute("@priority", read=int_signed, when=REALTIME)


@element("emulatorsched")
@dataclass(slots=True, kw_only=True)
class EmulatorSched:
    """<emulatorsched>."""

    scheduler: str = attribute("@scheduler", read=SCHEDULERS, default="", required=True)
    priority: int | None = attribute("@priority", read=int_signed, when=REALTIME)


def _check_vcpupins(pins: Sequence[VcpuPin]) -> None:
    """Refuse two pins of one vcpu."""
    twice = first_repeated([pin.vcpu for pin in pins])
    if twice is not None:
        raise ConfError("internal", f"duplicate vcpupin for vcpu '{twice}'", "cputune/vcpupin")


def _check_iothreadpins(pins: Sequence[IoThreadPin]) -> None:
    """Refuse two pins of one I/O thread."""
    twice = first_repeated([pin.iothread for pin in pins])
    if twice is not None:
        detail = f"duplicate iothreadpin for same iothread '{twice}'"
        raise ConfError("internal", detail, "cputune/iothreadpin")


@element("cputune", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Cputune:
    """<cputune>: where threads run, and how much."""

    shares: int | None = text("shares", read=unsigned, omit=0)
    period: int | None = text("period", read=unsigned, omit=0)  # microseconds, as all of these
    quota: int | None = text("quota", read=long_signed)
    global_period: int | None = text("global_period", read=unsigned, omit=0)
    global_quota: int | None = text("global_quota", read=long_signed)
    emulator_period: int | None = text("emulator_period", read=unsigned, omit=0)
    emulator_quota: int | None = text("emulator_quota", read=long_signed)
    iothread_period: int | None = text("iothread_period", read=unsigned, omit=0)
    iothread_quota: int | None = text("iothread_quota", read=long_signed)
    vcpupins: list[VcpuPin] = children("vcpupin", VcpuPin, check=_check_vcpupins)
    emulatorpin: str | None = attribute(
        "emulatorpin/@cpuset",
        read=nonempty_cpuset("cpuset"),
        required=Refusal("internal", "missing cpuset for emulatorpin"),
        single="only one emulatorpin is supported",
    )
    iothreadpins: list[IoThreadPin] = children(
        "iothreadpin", IoThreadPin, check=_check_iothreadpins
    )
    emulatorsched: EmulatorSched | None = child(
        "emulatorsched", EmulatorSched, single="only one emulatorsched is supported"
    )
    vcpuscheds: list[VcpuSched] = children("vcpusched", VcpuSched)
    iothreadscheds: list[IoThreadSched] = children("iothreadsched", IoThreadSched)
    cachetunes: list[CacheTune] = children("cachetune", CacheTune)
    memorytunes: list[MemoryTune] = children("memorytune", MemoryTune)

    def after_read(self) -> None:
        """Take shares of nothing for none."""
        self.shares = self.shares or None


@element("memory")
@dataclass(slots=True, kw_only=True)
class NumaMemory:
    """<memory> of <numatune>: the host's cells that memory comes from."""

    mode: str | None = attribute("@mode", read=NUMA_MODES)
    nodeset: str | None = attribute("@nodeset", read=nonempty_cpuset("nodeset"))
    placement: str | None = attribute("@placement", read=NUMA_PLACEMENTS)

    def before_write(self, _: Mode) -> NumaMemory:
        """Leave out the nodes that numad advised for this run."""
        return replace(self, nodeset=None) if self.placement == "auto" and self.nodeset else self


@element("memnode")
@dataclass(slots=True, kw_only=True)
class MemNode:
    """<memnode>: the same for one of the guest's cells."""

    cellid: int = attribute("@cellid", read=uint, default=0, required=True)
    mode: str = attribute(
        "@mode",
        read=one_of("strict", "preferred", "interleave", "restrictive"),
        default="strict",
    )
    nodeset: str = attribute(
        "@nodeset",
        read=nonempty_cpuset("nodeset"),
        default="",
        required=Refusal("xml", "Missing required nodeset attribute in memnode element"),
    )


@element("numatune", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Numatune:
    """<numatune>."""

    memory: NumaMemory | None = child("memory", NumaMemory)
    memnodes: list[MemNode] = children("memnode", MemNode)

    def after_read(self) -> None:
        """Drop a <memory> that says nothing."""
        if self.memory == NumaMemory():
            self.memory = None
