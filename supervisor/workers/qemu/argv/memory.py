"""-m, memory backends, -numa, memory devices.

Owns: where guest memory comes from, and how it is spread over NUMA nodes.
May touch: values only; page folders and backing files are the worker's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from conf.domain.cpu import NumaCell
from conf.domain.devices.address import DimmAddress
from conf.domain.devices.memory import MemoryDevice
from conf.domain.tuning import MemoryBacking
from conf.errors import ConfError
from conf.types.cpuset import cpu_ranges, parse_cpuset
from conf.types.size import KIB
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device, obj

ALIGNMENT_KIB: Final = 1024  # QEMU takes memory in MiB
SYSTEM_PAGE_KIB: Final = 4
POLICIES: Final = {"strict": "bind", "preferred": "preferred", "interleave": "interleave"}


def aligned(kib: int) -> int:
    """Round KiB up to a whole MiB."""
    return -(-kib // ALIGNMENT_KIB) * ALIGNMENT_KIB


def cells(context: Context) -> Sequence[NumaCell]:
    """Return the guest's NUMA nodes."""
    cpu = context.domain.cpu
    return cpu.numa.cells if cpu and cpu.numa else ()


def boot_memory(context: Context) -> int:
    """Return the memory at start in KiB, without what memory devices add."""
    nodes = cells(context)
    if nodes:
        return sum(aligned(cell.memory) for cell in nodes)
    plugged = sum(aligned(device.target.size) for device in context.domain.devices.memories)
    return aligned(context.domain.memory) - plugged


def default_ram_id(context: Context) -> str | None:
    """Return the id for -machine memory-backend=; None where NUMA nodes own the memory."""
    machine = context.facts.machine(context.machine)
    if cells(context) or machine is None:
        return None
    return machine.default_ram_id or None


def amount(context: Context) -> Options:
    """Build -m, and the backend of all memory where there are no NUMA nodes."""
    maximum = context.domain.max_memory
    initial = boot_memory(context)
    if maximum is None:
        yield "-m", str(initial // KIB)
    else:
        size = aligned(maximum.amount)
        yield "-m", f"size={initial}k,slots={maximum.slots},maxmem={size}k"
    ram_id = default_ram_id(context)
    if ram_id is not None:
        yield obj(backend(context, ram_id, initial, node=None))


def overcommit(context: Context) -> Options:
    """Return whether memory stays in RAM."""
    backing = context.domain.memory_backing
    locked = backing is not None and backing.locked
    yield "-overcommit", f"mem-lock={'on' if locked else 'off'}"


def _page_size(context: Context, node: int | None) -> int | None:
    """Find the huge page size, in KiB, for the memory of a node."""
    backing = context.domain.memory_backing
    if backing is None or backing.hugepages is None:
        return None
    chosen = None
    for page in backing.hugepages.pages:
        if page.nodeset is None:
            chosen = chosen or page.size
        elif node is not None and node in parse_cpuset(page.nodeset):
            chosen = page.size
    if not backing.hugepages.pages:
        chosen = context.inputs.default_hugepage or _no_mount()
    return None if chosen == SYSTEM_PAGE_KIB else chosen


def _hugetlbfs_mount(context: Context, size: int) -> str:
    if not context.inputs.hugepage_dirs:
        _no_mount()
    folder = context.inputs.hugepage_dirs.get(size)
    if folder is None:
        detail = f"Unable to find any usable hugetlbfs mount for {size} KiB"
        raise ConfError("internal", detail)
    return folder


def _no_mount() -> NoReturn:
    detail = "hugetlbfs filesystem is not mounted or disabled by administrator config"
    raise ConfError("internal", detail)


@dataclass(frozen=True, slots=True)
class BackendWishes:
    """What one NUMA node's memory or a module is to be, where it differs from <memoryBacking>."""

    access: str | None = None
    discard: bool | None = None
    page_kib: int | None = None
    nodes: str | None = None  # of the host, as a set
    file: str = ""  # below the domain's folder of memory; "": named as the backend
    is_module: bool = False
    reserve: bool | None = None  # whether the host has to have all of it


def backend(
    context: Context,
    name: str,
    size_kib: int,
    *,
    node: int | None,
    wishes: BackendWishes = BackendWishes(),
) -> Props:
    """Build one memory backend; `node` is the guest's NUMA node, None for memory without nodes."""
    backing = context.domain.memory_backing
    source = backing.source if backing else None
    shared = wishes.access or (backing.access if backing else None)
    huge = _huge_page(context, node, wishes)
    props: Props = {"qom-type": "memory-backend-ram", "id": name}
    prealloc = backing is not None and backing.allocation_mode == "immediate"
    if source == "memfd":
        props["qom-type"] = "memory-backend-memfd"
        if huge is not None:
            props |= {"hugetlb": True, "hugetlbsize": huge * KIB}
            prealloc = True
    elif huge is not None:
        props["qom-type"] = "memory-backend-file"
        props["mem-path"] = _hugetlbfs_mount(context, huge)
        prealloc = True
    elif source == "file" or shared is not None:
        props["qom-type"] = "memory-backend-file"
        props["mem-path"] = f"{context.inputs.memory_dir}/{wishes.file or name}"
    if _discards(context, wishes) and props["qom-type"] == "memory-backend-file":
        props["discard-data"] = True
    if shared is not None:
        props["share"] = shared == "shared"
    if node is None and not wishes.is_module and props["qom-type"] != "memory-backend-ram":
        props["x-use-canonical-path-for-ramblock-id"] = False
    if prealloc:
        props |= _preallocation(backing)
    if wishes.reserve is not None:
        props["reserve"] = wishes.reserve
    props["size"] = size_kib * KIB
    return props | _binding(context, node, wishes.nodes)


def _preallocation(backing: MemoryBacking | None) -> Props:
    threads = backing.allocation_threads if backing else None
    return {"prealloc": True} | ({"prealloc-threads": threads} if threads else {})


def _huge_page(context: Context, node: int | None, wishes: BackendWishes) -> int | None:
    wished = _page_size(context, node) if wishes.page_kib is None else wishes.page_kib
    return None if wished == SYSTEM_PAGE_KIB else wished


def _discards(context: Context, wishes: BackendWishes) -> bool:
    backing = context.domain.memory_backing
    if wishes.discard is not None:
        return wishes.discard
    return backing is not None and bool(backing.discard)


def _binding(context: Context, node: int | None, wished: str | None) -> Props:
    """Choose the host's NUMA nodes that the memory comes from."""
    tune = context.domain.numatune
    if wished:
        return _bind(context, wished, "strict")
    if tune is None:
        return {}
    nodes, mode = (tune.memory.nodeset, tune.memory.mode) if tune.memory else (None, None)
    for entry in tune.memnodes:
        if entry.cellid == node:
            nodes, mode = entry.nodeset, entry.mode
    return _bind(context, nodes, mode) if nodes else {}


def _bind(context: Context, nodes: str, mode: str | None) -> Props:
    host_nodes = parse_cpuset(nodes)
    absent = sorted(host_nodes - context.inputs.numa_nodes)
    if absent:
        raise ConfError("config_unsupported", f"NUMA node {absent[0]} is unavailable")
    policy = POLICIES.get(mode or "strict")
    return {} if policy is None else {"host-nodes": sorted(host_nodes), "policy": policy}


def numa(context: Context) -> Options:
    """Build the guest's NUMA nodes, their distances and their speeds."""
    nodes = cells(context)
    with_hmat = has_hmat(context)
    for number, cell in enumerate(nodes):
        node = number if cell.id is None else cell.id
        name = f"ram-node{node}"
        wishes = BackendWishes(access=cell.mem_access)
        yield obj(backend(context, name, aligned(cell.memory), node=node, wishes=wishes))
        parts = [f"node,nodeid={node}"]
        parts += [
            f"cpus={part}" for part in cpu_ranges(parse_cpuset(cell.cpus) if cell.cpus else ())
        ]
        if with_hmat:
            parts.append(f"initiator={_initiator(context, node)}")
        yield "-numa", ",".join([*parts, f"memdev={name}"])
    for number, cell in enumerate(nodes):
        for sibling in cell.distances:
            yield "-numa", f"dist,src={number},dst={sibling.id},val={sibling.value}"
    if with_hmat:
        yield from _speeds(context)


def has_hmat(context: Context) -> bool:
    """Return whether the domain has NUMA latencies and bandwidths (ACPI HMAT)."""
    cpu = context.domain.cpu
    numa = cpu.numa if cpu else None
    if numa is None:
        return False
    return bool(numa.interconnects) or any(cell.caches for cell in numa.cells)


def _initiator(context: Context, node: int) -> int:
    """Choose the node whose CPUs reach the node's memory fastest: itself if it has CPUs."""
    nodes = cells(context)
    if nodes[node].cpus:
        return node
    cpu = context.domain.cpu
    numa = cpu.numa if cpu else None
    links = [link for link in (numa.interconnects.latencies if numa and numa.interconnects else ())]
    reaching = [link for link in links if link.target == node and link.cache is None]
    if reaching:
        return min(reaching, key=lambda link: link.value).initiator
    with_cpus = (number for number, cell in enumerate(nodes) if cell.cpus)
    return next(with_cpus, node)


LEVELS: Final = {None: "memory", 1: "first-level", 2: "second-level", 3: "third-level"}
CACHE_POLICIES: Final = {"none": "none", "writeback": "write-back", "writethrough": "write-through"}
ASSOCIATIVITY: Final = {"none": "none", "direct": "direct", "full": "complex"}


def _speeds(context: Context) -> Options:
    """Build the entries of the heterogeneous memory attributes table (-numa hmat-lb)."""
    cpu = context.domain.cpu
    numa = cpu.numa if cpu else None
    if numa is None:
        return
    if numa.interconnects is not None:
        for latency in numa.interconnects.latencies:
            yield (
                "-numa",
                (
                    f"hmat-lb,initiator={latency.initiator},target={latency.target},"
                    f"hierarchy={LEVELS[latency.cache]},data-type={latency.type}-latency,"
                    f"latency={latency.value}"
                ),
            )
        for bandwidth in numa.interconnects.bandwidths:
            yield (
                "-numa",
                (
                    f"hmat-lb,initiator={bandwidth.initiator},target={bandwidth.target},"
                    f"hierarchy={LEVELS[bandwidth.cache]},data-type={bandwidth.type}-bandwidth,"
                    f"bandwidth={bandwidth.value}K"
                ),
            )
    for number, cell in enumerate(numa.cells):
        for cache in sorted(cell.caches, key=lambda cache: cache.level):
            yield (
                "-numa",
                (
                    f"hmat-cache,node-id={number},size={cache.size}K,level={cache.level},"
                    f"associativity={ASSOCIATIVITY[cache.associativity]},"
                    f"policy={CACHE_POLICIES[cache.policy]},line={cache.line}"
                ),
            )


def devices(context: Context) -> Options:
    """Build the memory devices: pluggable modules."""
    for item in context.domain.devices.memories:
        yield from module_options(context, item)


def module_options(context: Context, item: MemoryDevice) -> Options:
    """Build one memory device and its backend."""
    name = f"mem{item.alias}"
    wishes = BackendWishes(
        access=item.access,
        discard=item.discard,
        page_kib=item.source_page.amount if item.source_page else None,
        nodes=item.source_nodes,
        file=item.alias or "",
        is_module=True,
        reserve=False if item.model == "virtio-mem" else None,
    )
    props = backend(context, name, aligned(item.target.size), node=item.target.node, wishes=wishes)
    preallocated = False
    if item.source_path is not None:
        props = _file_backend(name, item)
    elif item.model == "virtio-mem":
        # It takes memory as the guest does; the device itself sees to it that there is some.
        preallocated = bool(props.pop("prealloc", False))
        props.pop("prealloc-threads", None)
    yield obj(props)
    yield device(_module(context, item, name, preallocated=preallocated))


def _file_backend(name: str, item: MemoryDevice) -> Props:
    """Build a backend whose memory is a file of the host."""
    align = item.source_align
    return {
        "qom-type": "memory-backend-file",
        "id": name,
        "mem-path": item.source_path,
        "share": True,
        "align": align.amount * KIB if align else None,
        "pmem": True if item.source_pmem is not None else None,
        "size": item.target.size * KIB,
    }


MODULES: Final = {
    "dimm": "pc-dimm", "nvdimm": "nvdimm", "virtio-pmem": "virtio-pmem-pci",
    "virtio-mem": "virtio-mem-pci",
}  # fmt: skip


def _module(context: Context, item: MemoryDevice, name: str, *, preallocated: bool) -> Props:
    driver = MODULES.get(item.model)
    if driver is None:
        raise ConfError(
            "config_unsupported", f"memory device model '{item.model}' cannot be started"
        )
    target = item.target
    props: Props = {"driver": driver, "node": target.node}
    if item.model == "virtio-mem":
        props |= {
            "block-size": (target.block or 0) * KIB,
        }
        if target.requested:
            props["requested-size"] = target.requested * KIB
        if preallocated:
            props["prealloc"] = True
    if item.model == "nvdimm":
        props["label-size"] = target.label_size.amount * KIB if target.label_size else None
        props["unarmed"] = True if target.readonly else None
    props |= {"memdev": name, "id": item.alias}
    if isinstance(item.address, DimmAddress):
        return props | {"slot": item.address.slot, "addr": item.address.base}
    return props | placed(context, item.address)
