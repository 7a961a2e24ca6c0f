"""Checks of a parsed domain: required parts and contradictions, whatever the hypervisor.

Owns: these checks, in libvirt's order. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from collections.abc import Iterable

from conf.domain.cpu import check_cells
from conf.domain.model import Domain
from conf.domain.resctrl import CacheMonitor, CacheShare, CacheTune
from conf.domain.security import check_seclabels
from conf.domain.validate.parsed_devices import check_auth, check_parsed_devices
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset


def check_parsed(domain: Domain) -> None:
    """Check a domain before its defaults are filled in.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    _check_identity(domain)
    _check_vcpu_count(domain)
    _check_schedulers(domain)
    _check_cache_shares(domain)
    _check_cells(domain)
    _check_memnodes(domain)
    _check_idmap(domain)
    check_seclabels(domain.seclabels)
    if domain.os is not None and domain.os.nvram is not None and domain.os.nvram.source:
        check_auth(domain.os.nvram.source.auth)
    check_parsed_devices(domain)


def _check_identity(domain: Domain) -> None:
    if not domain.type:
        raise ConfError("internal", "missing domain type attribute", "domain/@type")
    if not domain.name:
        raise ConfError("no_name", "<domain>: it needs a <name>", "domain/name")
    if "\n" in domain.name:
        raise ConfError("xml_detail", f"invalid char in name: {domain.name!r}", "domain/name")
    if "/" in domain.name:
        raise ConfError("xml", f"name {domain.name} cannot contain '/'", "domain/name")
    if domain.name in (".", ".."):
        raise ConfError("xml", f"name {domain.name} is a folder's", "domain/name")
    if domain.title is not None and "\n" in domain.title:
        raise ConfError("xml", "Domain title can't contain newlines", "domain/title")


def _check_vcpu_count(domain: Domain) -> None:
    vcpu = domain.vcpu
    if vcpu is None:
        return
    if vcpu.maximum < 1:
        raise ConfError("internal", "a guest needs a vcpu; <vcpu> says 0", "domain/vcpu")
    if vcpu.current is not None and vcpu.current > vcpu.maximum:
        detail = (
            "maximum vCPU count must not be less than current vCPU count: "
            f"{vcpu.maximum} < {vcpu.current}"
        )
        raise ConfError("config_unsupported", detail, "domain/vcpu/@current")


def _check_schedulers(domain: Domain) -> None:
    tune = domain.cputune
    if tune is None:
        return
    _check_disjoint("vcpusched", "vcpus", [sched.vcpus for sched in tune.vcpuscheds])
    _check_disjoint(
        "iothreadsched", "iothreads", [sched.iothreads for sched in tune.iothreadscheds]
    )
    every = [(sched.scheduler, sched.priority) for sched in tune.vcpuscheds]
    every.extend((sched.scheduler, sched.priority) for sched in tune.iothreadscheds)
    if tune.emulatorsched is not None:
        every.append((tune.emulatorsched.scheduler, tune.emulatorsched.priority))
    for scheduler, priority in every:
        if scheduler in ("fifo", "rr") and priority is None:
            detail = f"scheduler '{scheduler}' needs a priority"
            raise ConfError("xml", detail, "domain/cputune")


def _check_disjoint(element: str, attribute: str, sets: Iterable[str]) -> None:
    taken: set[int] = set()
    for written in sets:
        members = parse_cpuset(written)
        if taken & members:
            detail = f"'{element}' attributes '{attribute}' must not overlap"
            raise ConfError("xml_detail", detail, f"domain/cputune/{element}/@{attribute}")
        taken |= members


def _check_cache_shares(domain: Domain) -> None:
    tune = domain.cputune
    if tune is None:
        return
    groups: list[frozenset[int]] = []
    for cache in tune.cachetunes:
        vcpus = parse_cpuset(cache.vcpus)
        if vcpus in groups:
            raise ConfError(
                "xml", "Identical vcpus in cachetunes found", "domain/cputune/cachetune"
            )
        _check_new_group(vcpus, groups)
        groups.append(vcpus)
        _check_cache_collisions(cache)
        _check_monitors(vcpus, cache.monitors, allocated=bool(cache.caches))
    for memory in tune.memorytunes:
        vcpus = parse_cpuset(memory.vcpus)
        if vcpus not in groups:
            _check_new_group(vcpus, groups)
            groups.append(vcpus)
        _check_monitors(vcpus, memory.monitors, allocated=bool(memory.nodes))


def _check_new_group(vcpus: frozenset[int], groups: list[frozenset[int]]) -> None:
    if any(vcpus & other for other in groups):
        raise ConfError("xml", "Overlapping vcpus in resctrls", "domain/cputune")


def _check_cache_collisions(tune: CacheTune) -> None:
    seen: list[CacheShare] = []
    for share in tune.caches:
        for other in seen:
            same = (other.level, other.id) == (share.level, share.id)
            if same and (other.type == share.type or "both" in (other.type, share.type)):
                detail = (
                    f"Colliding cache allocations for cache level '{share.level}' "
                    f"id '{share.id}', type '{share.type}'"
                )
                raise ConfError("xml", detail, "domain/cputune/cachetune/cache")
        seen.append(share)


def _check_monitors(
    vcpus: frozenset[int], monitors: list[CacheMonitor], *, allocated: bool
) -> None:
    watched: set[int] = set()
    for monitor in monitors:
        members = parse_cpuset(monitor.vcpus)
        if not members <= vcpus:
            raise ConfError("invalid_arg", "Monitor vcpus conflicts with allocation")
        if allocated and members == vcpus:
            continue
        if members & watched:
            raise ConfError("invalid_arg", "Monitor vcpus conflicts with monitors")
        watched |= members


def _check_cells(domain: Domain) -> None:
    numa = domain.cpu.numa if domain.cpu else None
    if numa is None:
        return
    check_cells(numa.cells)
    members = [parse_cpuset(cell.cpus) if cell.cpus else frozenset() for cell in numa.cells]
    path = "domain/cpu/numa/cell/@cpus"
    if sum(map(len, members)) > domain.maximum_vcpus:
        raise ConfError("internal", "Number of CPUs in <numa> exceeds the <vcpu> count", path)
    if any(max(each, default=0) >= domain.maximum_vcpus for each in members):
        raise ConfError("internal", "CPU IDs in <numa> exceed the <vcpu> count", path)


def _check_memnodes(domain: Domain) -> None:
    tune = domain.numatune
    if tune is None or not tune.memnodes:
        return
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    path = "domain/numatune/memnode"
    if tune.memory is not None and tune.memory.placement == "auto":
        detail = "Per-node binding is not compatible with automatic NUMA placement."
        raise ConfError("config_unsupported", detail, path)
    if not cells:
        raise ConfError("xml", "Element 'memnode' is invalid without any guest NUMA cells", path)
    seen: set[int] = set()
    for node in tune.memnodes:
        if node.cellid >= len(cells):
            detail = "Argument 'cellid' in memnode element must correspond to existing guest's cell"
            raise ConfError("xml", detail, path)
        if node.cellid in seen:
            detail = f"Multiple memnode elements with cellid {node.cellid}"
            raise ConfError("xml", detail, path)
        seen.add(node.cellid)
    restrictive = tune.memory is not None and tune.memory.mode == "restrictive"
    if restrictive and any(node.mode != "restrictive" for node in tune.memnodes):
        detail = (
            "'restrictive' mode is required in memnode element when mode is 'restrictive' in "
            "memory element"
        )
        raise ConfError("xml", detail, path)


def _check_idmap(domain: Domain) -> None:
    mapped = domain.idmap
    if mapped is None:
        return
    if bool(mapped.uids) != bool(mapped.gids):
        raise ConfError("config_unsupported", "uid and gid should be mapped both", "domain/idmap")
    for ranges in (mapped.uids, mapped.gids):
        if ranges and ranges[0].start != 0:
            detail = "You must map the root user of container"
            raise ConfError("config_unsupported", detail, "domain/idmap")
