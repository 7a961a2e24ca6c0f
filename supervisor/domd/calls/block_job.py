"""virDomain calls about block jobs: pull, rebase, commit, copy, abort, speed, progress.

Owns: one method per procedure, named as in the table. May touch: guests, through their workers.
May not touch: images, definitions but by what workers report of their disks.
Source: libvirt 9.0, qemuDomainBlockPullCommon, qemuDomainBlockCommit, qemuDomainBlockCopyCommon.
"""

from __future__ import annotations

from typing import Final

from conf.domain.device_xml import format_device
from conf.domain.devices.disk import Disk, DiskDriver
from conf.domain.devices.disk_chain import source_name
from conf.domain.devices.source import Source
from conf.mapper import parse
from conf.types.size import MIB
from ipc import Request
from rpc.enums import (
    DomainBlockCommitFlags,
    DomainBlockCopyFlags,
    DomainBlockJobAbortFlags,
    DomainBlockJobInfoFlags,
    DomainBlockJobSetSpeedFlags,
    DomainBlockPullFlags,
    DomainBlockRebaseFlags,
)
from rpc.errors import ErrorCode
from rpc.params import declared, read_params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.workers import Workers
from supervisor.messages.block import (
    BlockCommit,
    BlockCopy,
    BlockJobAbort,
    BlockJobSetSpeed,
    BlockPull,
    GetBlockJob,
)
from supervisor.messages.worker import DomainStatus
from supervisor.objects.job import JobKind

MAX_MIB: Final = (2**63 - 1) >> 20  # of a bandwidth that travels in bytes a second
MAX_BYTES: Final = 2**63 - 1
COPY_PARAMETERS: Final = ("bandwidth", "granularity", "buf-size")
COPY_ONLY: Final = (
    DomainBlockRebaseFlags.SHALLOW
    | DomainBlockRebaseFlags.REUSE_EXT
    | DomainBlockRebaseFlags.COPY_RAW
    | DomainBlockRebaseFlags.COPY_DEV
)


class BlockJobCalls:
    """The block jobs of one driver's domains."""

    def __init__(self, registry: DomainRegistry, domains: RunningDomains, workers: Workers) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._domains = domains
        self._workers = workers

    async def domain_block_pull(
        self, call: ClientCall, dom: DomainId, path: str, bandwidth: int, flags: int
    ) -> None:
        """Begin to merge all images below a disk's top one into it."""
        self._errors.check_flags("DomainBlockPull", flags, DomainBlockPullFlags.BYTES)
        domain = self._registry.find(dom)
        in_bytes = bool(flags & DomainBlockPullFlags.BYTES)
        request = BlockPull(
            path=path, base=None, bandwidth=self._bandwidth(bandwidth, in_bytes=in_bytes)
        )
        await self._begin(domain, "remoteDispatchDomainBlockPull", request)

    async def domain_block_rebase(
        self,
        call: ClientCall,
        dom: DomainId,
        path: str,
        base: str | None,
        bandwidth: int,
        flags: int,
    ) -> None:
        """Begin to merge the images above `base`, or (COPY) to copy the disk to it."""
        rebase = DomainBlockRebaseFlags
        self._errors.check_flags("DomainBlockRebase", flags, sum(rebase))
        domain = self._registry.find(dom)
        speed = self._bandwidth(bandwidth, in_bytes=bool(flags & rebase.BANDWIDTH_BYTES))
        if flags & rebase.COPY:
            await self._copy_by_rebase(domain, path, base, speed, flags)
            return
        if flags & COPY_ONLY:
            raise self._errors.invalid_arg("use of flags requires a copy job")
        if flags & rebase.RELATIVE and base is None:
            raise self._errors.invalid_arg(
                "flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base"
            )
        relative = bool(flags & rebase.RELATIVE)
        request = BlockPull(path=path, base=base, bandwidth=speed, relative=relative)
        await self._begin(domain, "remoteDispatchDomainBlockRebase", request)

    async def _copy_by_rebase(
        self, domain: DomainObject, path: str, base: str | None, speed: int, flags: int
    ) -> None:
        rebase = DomainBlockRebaseFlags
        if base is None:
            raise self._errors.invalid_arg("base in virDomainBlockRebase must not be NULL")
        if flags & rebase.RELATIVE:
            detail = "Relative backing during copy not supported yet"
            raise self._errors.error(ErrorCode.ARGUMENT_UNSUPPORTED, detail)
        is_device = bool(flags & rebase.COPY_DEV)
        source = Source(dev=base, type="block") if is_device else Source(file=base)
        destination = Disk(
            type="block" if is_device else "file",
            source=source,
            driver=DiskDriver(type="raw") if flags & rebase.COPY_RAW else None,
        )
        request = BlockCopy(
            path=path,
            destination=format_device(destination),
            bandwidth=speed,
            shallow=bool(flags & rebase.SHALLOW),
            reuse=bool(flags & rebase.REUSE_EXT),
            refuse_persistent=domain.definition is not None,
        )
        await self._begin(domain, "remoteDispatchDomainBlockRebase", request)

    async def domain_block_commit(
        self,
        call: ClientCall,
        dom: DomainId,
        disk: str,
        base: str | None,
        top: str | None,
        bandwidth: int,
        flags: int,
    ) -> None:
        """Begin to merge the images from `top` down into `base`."""
        commit = DomainBlockCommitFlags
        self._errors.check_flags("DomainBlockCommit", flags, sum(commit))
        domain = self._registry.find(dom)
        speed = self._bandwidth(bandwidth, in_bytes=bool(flags & commit.BANDWIDTH_BYTES))
        if not domain.is_active:
            raise self._commit_off(domain, disk, base, flags)
        request = BlockCommit(path=disk, base=base, top=top, bandwidth=speed, flags=flags)
        await self._begin(domain, "remoteDispatchDomainBlockCommit", request)

    def _commit_off(
        self, domain: DomainObject, name: str, base: str | None, flags: int
    ) -> Exception:
        """Return the refusal for a domain that is off; libvirt looks for the images first."""
        disks = domain.current.domain.devices.disks
        found = next((disk for disk in disks if _is_named(disk, name)), None)
        if found is None:
            return self._errors.invalid_arg(f"disk '{name}' not found in domain")
        if base is None and flags & DomainBlockCommitFlags.SHALLOW:
            return not_running(domain)
        if found.backing_store is None or found.backing_store.type is None:
            where = source_name(found.source) if found.source is not None else ""
            what = "base image" if base is None else f"image '{base}'"
            return self._errors.invalid_arg(f"could not find {what} in chain for '{where}'")
        return not_running(domain)

    async def domain_block_copy(
        self,
        call: ClientCall,
        dom: DomainId,
        path: str,
        destxml: str,
        params: list[TypedParam],
        flags: int,
    ) -> None:
        """Begin to copy a disk to what the XML describes.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID, CONFIG_UNSUPPORTED, SYSTEM_ERROR. ConfError.
        """
        copy = DomainBlockCopyFlags
        self._errors.check_flags("DomainBlockCopy", flags, sum(copy))
        values = read_params(params, declared(*COPY_PARAMETERS))
        numbers = {name: int(given[-1]) for name, given in values.items()}
        domain = self._registry.find(dom)
        granularity = numbers.get("granularity", 0)
        if granularity & (granularity - 1):
            raise self._errors.invalid_arg("granularity must be power of 2")
        bandwidth = numbers.get("bandwidth", 0)
        if bandwidth > MAX_BYTES:
            detail = f"bandwidth must be less than '{MAX_BYTES}' bytes/s ({MAX_MIB} MiB/s)"
            raise self._errors.invalid_arg(detail)
        destination = parse(Disk, destxml)
        persistent = domain.definition is not None
        request = BlockCopy(
            path=path,
            destination=format_device(destination),
            bandwidth=bandwidth,
            granularity=granularity,
            buffer_size=numbers.get("buf-size", 0),
            shallow=bool(flags & copy.SHALLOW),
            reuse=bool(flags & copy.REUSE_EXT),
            synchronous=bool(flags & copy.SYNCHRONOUS_WRITES),
            refuse_persistent=persistent and not flags & copy.TRANSIENT_JOB,
        )
        await self._begin(domain, "remoteDispatchDomainBlockCopy", request)

    async def domain_block_job_abort(
        self, call: ClientCall, dom: DomainId, path: str, flags: int
    ) -> None:
        """End a block job: cancel it, or (PIVOT) have the guest use what it has made."""
        abort = DomainBlockJobAbortFlags
        self._errors.check_flags("DomainBlockJobAbort", flags, sum(abort))
        request = BlockJobAbort(
            path=path, pivot=bool(flags & abort.PIVOT), wait=not flags & abort.ASYNC
        )
        await self._begin(self._registry.find(dom), "remoteDispatchDomainBlockJobAbort", request)

    async def domain_block_job_set_speed(
        self, call: ClientCall, dom: DomainId, path: str, bandwidth: int, flags: int
    ) -> None:
        """Limit a block job; 0 removes the limit."""
        in_bytes = DomainBlockJobSetSpeedFlags.BYTES
        self._errors.check_flags("DomainBlockJobSetSpeed", flags, in_bytes)
        speed = self._bandwidth(bandwidth, in_bytes=bool(flags & in_bytes))
        domain = self._registry.find(dom)
        async with domain.jobs.hold("remoteDispatchDomainBlockJobSetSpeed", JobKind.MODIFY):
            await self._workers.call_running(domain, BlockJobSetSpeed(path=path, bandwidth=speed))

    async def domain_get_block_job_info(
        self, call: ClientCall, dom: DomainId, path: str, flags: int
    ) -> tuple[int, int, int, int, int]:
        """Return whether a disk has a block job; its type, speed limit and progress.

        Raises:
            VirError: OPERATION_INVALID: the domain is off; INVALID_ARG: there is no such disk.
        """
        in_bytes = DomainBlockJobInfoFlags.BYTES
        self._errors.check_flags("DomainGetBlockJobInfo", flags, in_bytes)
        domain = self._registry.find(dom)
        if domain.runtime is None or domain.live_definition is None:
            raise not_running(domain)
        if not domain.runtime.status.has_block_jobs:
            if not any(
                _is_named(disk, path) for disk in domain.live_definition.domain.devices.disks
            ):
                raise self._errors.invalid_arg(f"disk '{path}' not found in domain")
            return 0, 0, 0, 0, 0
        job = await self._workers.call_running(domain, GetBlockJob(path=path))
        if not job.type:
            return 0, 0, 0, 0, 0
        speed = job.bandwidth if flags & in_bytes else -(-job.bandwidth // MIB)
        return 1, job.type, speed, job.current, job.end

    async def _begin(self, domain: DomainObject, name: str, request: Request[DomainStatus]) -> None:
        async with domain.jobs.hold(name, JobKind.MODIFY):
            await self._domains.run_change(domain, request)
            await self._domains.follow_disks(domain)

    def _bandwidth(self, value: int, *, in_bytes: bool) -> int:
        """Return a bandwidth in bytes a second.

        Raises:
            VirError: OVERFLOW.
        """
        if in_bytes:
            return min(value, MAX_BYTES)
        if value > MAX_MIB:
            detail = f"bandwidth must be less than {MAX_MIB}"
            raise self._errors.error(ErrorCode.OVERFLOW, detail)
        return value * MIB


def _is_named(disk: Disk, name: str) -> bool:
    by_path = disk.source is not None and name.startswith("/") and source_name(disk.source) == name
    return bool(name) and (disk.target.dev == name or by_path)
