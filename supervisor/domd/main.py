"""Entry point of domd and lxcd: the registry of one driver's domains.

Owns: definitions, numbers, the jobs of domains, and which worker drives which guest.
May touch: `etc/libvirt/qemu` (lxcd: `lxc`); workers and hostd over the bus; the root, for workers.
May not touch: guests themselves, client sockets.
Runs with: the daemon's own files, no capability.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Callable

from conf.settings import QemuConfig
from rpc.enums import DomainStatsTypes
from supervisor.access.setup import open_guard
from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.procedure_methods import check_methods
from supervisor.domd.calls.agent_timeout import AgentTimeoutCalls
from supervisor.domd.calls.backup import BackupCalls
from supervisor.domd.calls.block_job import BlockJobCalls
from supervisor.domd.calls.checkpoint import CheckpointCalls
from supervisor.domd.calls.definition import DefinitionCalls
from supervisor.domd.calls.device import DeviceCalls
from supervisor.domd.calls.dump import DumpCalls
from supervisor.domd.calls.fd_group import FdGroupCalls
from supervisor.domd.calls.interface_parameters import InterfaceParameterCalls
from supervisor.domd.calls.iothread import IothreadCalls
from supervisor.domd.calls.job import JobCalls
from supervisor.domd.calls.lifecycle import LifecycleCalls
from supervisor.domd.calls.lifecycle_action import LifecycleActionCalls
from supervisor.domd.calls.lxc_info import LxcInfoCalls
from supervisor.domd.calls.memory import MemoryCalls
from supervisor.domd.calls.metadata import MetadataCalls
from supervisor.domd.calls.native_xml import NativeXmlCalls
from supervisor.domd.calls.pinning import PinningCalls
from supervisor.domd.calls.query import QueryCalls
from supervisor.domd.calls.resources import ResourceCalls
from supervisor.domd.calls.save import SaveCalls
from supervisor.domd.calls.snapshot import SnapshotCalls
from supervisor.domd.calls.snapshot_queries import SnapshotQueries
from supervisor.domd.calls.stats import StatsCalls
from supervisor.domd.calls.tuning import TuningCalls
from supervisor.domd.calls.tuning_access import TuningAccess
from supervisor.domd.calls.vcpu import VcpuCalls
from supervisor.domd.change_domain import DomainChanger
from supervisor.domd.checkpoints.create import CheckpointCreator
from supervisor.domd.checkpoints.presence import BitmapPresence
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.cpu_update import cpu_updates
from supervisor.domd.definition_builder import Completion, DefinitionBuilder
from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.definitions import DomainDefinitions
from supervisor.domd.disk_changes import DiskChanges
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.domain_ids import IdAllocator
from supervisor.domd.guest_jobs import GuestJobs
from supervisor.domd.recovery import Recovery
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.saved_definitions import SavedDefinitions
from supervisor.domd.saved_images import SavedImages
from supervisor.domd.snapshots.create import SnapshotServices
from supervisor.domd.snapshots.store import SnapshotStore
from supervisor.domd.starting import DomainStarter
from supervisor.domd.worker_forwarding import WorkerForwarding
from supervisor.domd.worker_renewal import WorkerRenewal
from supervisor.domd.workers import Workers
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import ClientClosed
from supervisor.objects.autostart import autostart
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks

log = logging.getLogger(__name__)


def preload() -> None:
    """Check the calls' methods in the zygote: the check would copy their pages in each process."""
    for driver in DRIVERS:
        check_methods("domd", driver.name, call_classes(driver))


async def run(process: ChildProcess) -> None:
    """Run the registry of a driver's domains; the process's name says which driver's."""
    driver = DRIVERS.of_service(process.node.name)
    await run_registry(process, driver, DefinitionBuilder(load_completion(driver, process)))


def load_completion(driver: Driver, process: ChildProcess) -> Completion:
    """Make what fills in the defaults of a driver's domains."""
    module, _, name = driver.completion.partition(":")
    make: Callable[[ChildProcess], Completion]
    make = getattr(importlib.import_module(module), name).for_process
    return make(process)


async def run_registry(process: ChildProcess, driver: Driver, builder: DefinitionBuilder) -> None:
    """Serve one driver's domains until SIGTERM or the root's order to stop."""
    node, registry, paths = (
        process.node,
        DomainRegistry(driver),
        process.paths.for_driver(driver.name),
    )
    await asyncio.to_thread(paths.status_dir().mkdir, parents=True, exist_ok=True)
    definition_files, domain_files = (
        DomainDefinitionFiles(registry.object_type, paths),
        DomainFiles(paths),
    )
    ids = IdAllocator(paths.last_id_file())
    publisher = Publisher(node, "domain", driver.name)
    keep_running = KeepRunningVote(node, busy="guests run", idle="no guest runs")
    definitions = DomainDefinitions(registry, definition_files, publisher)
    workers = Workers(node, driver)
    domains = RunningDomains(registry, builder, workers, ids, publisher, keep_running)
    recovery = Recovery(node, registry, workers, domains)
    WorkerRenewal(node, registry, workers, domains)
    changer = DomainChanger(registry, definitions, builder, domains)
    access = TuningAccess(registry, changer, workers, driver, session=process.session)
    images = SavedImages(driver.errors)
    jobs = GuestJobs(domains, workers)
    saved = SavedDefinitions(builder, Hooks(paths.hook(driver.name)))
    starter = DomainStarter(saved, domain_files, images, domains)

    def config() -> QemuConfig:
        return process.qemu_config

    changes = DiskChanges(definitions, workers)
    domains.follow_disks = changes.follow
    store = SnapshotStore(paths, publisher.invalidate, definition_files, definitions.settle_soon)
    checkpoints = CheckpointStore(paths, publisher.invalidate, BitmapPresence(workers).is_made)
    checkpoint_creator = CheckpointCreator(checkpoints, builder, domains, workers)
    services = SnapshotServices(
        store=store,
        checkpoints=checkpoints,
        definitions=definitions,
        changes=changes,
        builder=builder,
        domains=domains,
        workers=workers,
        files=domain_files,
        publisher=publisher,
        jobs=jobs,
        images=images,
        config=config,
    )

    async def forget(domain: DomainObject) -> None:
        await store.discard_all(domain)
        await checkpoints.discard_all(domain)
        await asyncio.to_thread(domain_files.forget_tpm, domain)

    domains.on_transient_gone = forget
    queries = QueryCalls(registry, domain_files, cpu_updates(node, driver))
    stats = StatsCalls(node, registry, queries, driver)
    targets = (
        # As `call_classes`.
        *((LxcInfoCalls(registry, stats),) if has_worker_cpu_time(driver) else ()),
        queries,
        DefinitionCalls(registry, definitions, builder, domain_files, publisher, driver),
        MetadataCalls(registry, changer, publisher),
        DeviceCalls(changer, driver.errors),
        InterfaceParameterCalls(registry, changer),
        AgentTimeoutCalls(registry, workers),
        FdGroupCalls(registry, driver.errors),
        LifecycleActionCalls(changer, driver.errors),
        VcpuCalls(registry, changer, workers),
        PinningCalls(registry, changer),
        IothreadCalls(registry, changer),
        *((MemoryCalls(registry, changer),) if driver.has_balloon else ()),
        TuningCalls(access, driver),
        ResourceCalls(access),
        NativeXmlCalls(builder, workers, driver.errors),
        LifecycleCalls(registry, builder, definitions, domain_files, domains, workers, starter),
        SaveCalls(
            registry, builder, definitions, domain_files, images, saved, domains, jobs, config
        ),
        DumpCalls(registry, images, jobs, config),
        JobCalls(registry, workers),
        SnapshotQueries(registry, store),
        SnapshotCalls(registry, services),
        BlockJobCalls(registry, domains, workers),
        BackupCalls(registry, domains, workers, checkpoints, checkpoint_creator),
        CheckpointCalls(registry, checkpoints, checkpoint_creator, workers),
        stats,
    )
    load(definition_files, registry)
    forward = WorkerForwarding(node, registry, driver).forward
    node.serve(
        Dispatcher(
            "domd",
            *targets,
            guard=open_guard(process),
            driver=driver.name,
            fallback=forward,
        )
    )
    process.on_reload.append(builder.invalidate)
    await recovery.recover(paths)
    await process.ready()
    domains.spawn_task(checkpoints.settle_all(list(registry)))
    node.subscribe("rpcd", ClientClosed, lambda event: domains.client_closed(event.client))
    node.on_peer_lost.append(lambda name: domains.all_clients_closed() if name == "rpcd" else None)

    async def start(domain: DomainObject) -> None:
        if domain.definition is not None:
            bypass_cache = config().auto_start_bypass_cache
            await starter.start(domain, domain.definition, bypass_cache=bypass_cache)

    parallel = max(2, os.cpu_count() or 2)  # a start is bound by the processor
    starting = asyncio.create_task(autostart(registry, definition_files, start, parallel=parallel))
    await process.stopping.wait()
    starting.cancel()


def has_worker_cpu_time(driver: Driver) -> bool:
    """Return whether a driver's workers know the CPU time, which `LxcInfoCalls` asks for."""
    return bool(driver.worker_stats & DomainStatsTypes.CPU_TOTAL)


def call_classes(driver: Driver) -> tuple[type, ...]:
    """Return the classes whose methods answer clients' calls; the first with a method does."""
    return (
        *((LxcInfoCalls,) if has_worker_cpu_time(driver) else ()),
        QueryCalls,
        DefinitionCalls,
        MetadataCalls,
        DeviceCalls,
        InterfaceParameterCalls,
        VcpuCalls,
        AgentTimeoutCalls,
        FdGroupCalls,
        LifecycleActionCalls,
        PinningCalls,
        IothreadCalls,
        *((MemoryCalls,) if driver.has_balloon else ()),
        TuningCalls,
        ResourceCalls,
        NativeXmlCalls,
        LifecycleCalls,
        SaveCalls,
        DumpCalls,
        JobCalls,
        SnapshotQueries,
        SnapshotCalls,
        BlockJobCalls,
        BackupCalls,
        CheckpointCalls,
        StatsCalls,
    )


def load(definition_files: DomainDefinitionFiles, registry: DomainRegistry) -> None:
    """Load every definition."""
    for stored in definition_files.load_headers():
        domain = registry.make(stored.name, stored.uuid)
        domain.definition, domain.autostart = Definition(stored.xml), stored.autostart
        if registry.by_uuid(domain.uuid) is not None:
            log.error("%s is left out: another domain has its UUID", domain.name)
            continue
        registry.add(domain)
