"""domd and lxcd: the registry of domains, a process for each driver.

Owns: definitions, numbers, the jobs of domains, and which worker drives which guest.
May touch: `etc/libvirt/qemu` (lxcd: `lxc`); workers and hostd over the bus; the root, for workers.
May not touch: guests themselves, client sockets.
Runs with: the daemon's own files, no capability.
"""

from __future__ import annotations

import asyncio
import logging

from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.domd.autostart import autostart
from supervisor.domd.calls.definition import DefinitionCalls
from supervisor.domd.calls.device import DeviceCalls
from supervisor.domd.calls.interface_parameters import InterfaceParameterCalls
from supervisor.domd.calls.lifecycle import LifecycleCalls
from supervisor.domd.calls.lxc_info import LxcInfoCalls
from supervisor.domd.calls.metadata import MetadataCalls
from supervisor.domd.calls.native_xml import NativeXmlCalls
from supervisor.domd.calls.query import QueryCalls
from supervisor.domd.calls.stats import StatsCalls
from supervisor.domd.calls.tuning import TuningCalls
from supervisor.domd.completion import ContainerCompletion, GuestCompletion
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definition_files import Store
from supervisor.domd.definitions import Definitions
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.domain_ids import IdAllocator
from supervisor.domd.events import Publisher
from supervisor.domd.recovery import Recovery
from supervisor.domd.registry import Registry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.worker_forwarding import WorkerForwarding
from supervisor.domd.workers import Workers
from supervisor.drivers.table import LXC, QEMU, Driver
from supervisor.messages.calls import ClientClosed
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import host_arch
from supervisor.runtime.pidfd import boot_id

log = logging.getLogger(__name__)


async def run(process: ChildProcess) -> None:
    """Keep QEMU's guests until the process is told to stop."""
    completion = GuestCompletion(process.node, lambda: process.qemu_config)
    await run_registry(process, QEMU, DefinitionBuilder(completion))


async def run_containers(process: ChildProcess) -> None:
    """Keep containers until the process is told to stop."""
    await run_registry(process, LXC, DefinitionBuilder(ContainerCompletion(host_arch())))


async def run_registry(process: ChildProcess, driver: Driver, documents: DefinitionBuilder) -> None:
    """Keep the domains of a driver until the process is told to stop."""
    node, registry, paths = process.node, Registry(), process.paths.for_driver(driver.name)
    await asyncio.to_thread(paths.status_dir().mkdir, parents=True, exist_ok=True)
    store, belongings = Store(paths), DomainFiles(paths)
    numbers = IdAllocator(paths.last_id_file())
    publisher = Publisher(node, driver.name)
    definitions = Definitions(registry, store, publisher)
    workers = Workers(node, driver)
    guests = RunningDomains(registry, documents, workers, numbers, publisher)
    recovery = Recovery(node, registry, workers, guests)
    queries = QueryCalls(registry, belongings)
    devices = DeviceCalls(registry, definitions, documents, guests)
    stats = StatsCalls(node, registry, queries, driver)
    tuning = TuningCalls(registry, definitions, documents, guests, workers)
    natives = NativeXmlCalls(documents)
    own = (LxcInfoCalls(registry, stats), tuning, natives) if driver is LXC else ()
    targets = (
        *own,
        queries,
        DefinitionCalls(registry, definitions, documents, belongings, publisher, driver),
        MetadataCalls(registry, definitions, guests, publisher),
        devices,
        InterfaceParameterCalls(registry, devices),
        LifecycleCalls(registry, documents, definitions, belongings, guests, workers),
        stats,
    )
    load(store, registry)
    forward = WorkerForwarding(node, registry).forward
    node.serve(
        Dispatcher("domd", *targets, driver=driver.name, fallback=forward, voice=driver.voice)
    )
    process.on_reload.append(documents.forget_facts)
    await recovery.recover(paths)
    await process.ready()
    node.subscribe("rpcd", ClientClosed, lambda event: guests.client_closed(event.client))
    node.on_peer_lost.append(lambda name: guests.all_clients_closed() if name == "rpcd" else None)
    starting = asyncio.create_task(autostart(store, registry, guests, boot_id()))
    await process.stopping.wait()
    starting.cancel()


def load(store: Store, registry: Registry) -> None:
    """Know every definition on disk."""
    for stored in store.identified():
        entry = DomainObject(
            name=stored.name,
            uuid=stored.uuid,
            definition=Definition(stored.xml),
            autostart=stored.autostart,
        )
        if registry.by_uuid(entry.uuid) is not None:
            log.error("%s is left out: another domain has its UUID", entry.name)
            continue
        registry.add(entry)
