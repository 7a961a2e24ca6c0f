"""domd and lxcd: the registry of domains, a process for each driver.

Owns: definitions, numbers, the jobs of domains, and which worker drives which guest.
May touch: `etc/libvirt/qemu` (lxcd: `lxc`); workers and hostd over the bus; the root, for workers.
May not touch: guests themselves, client sockets.
Runs with: the daemon's own files, no capability.
"""

from __future__ import annotations

import asyncio
import logging

from supervisor.architecture import architecture
from supervisor.calls import Surface
from supervisor.domd.autostart import autostart
from supervisor.domd.belongings import Belongings
from supervisor.domd.card_limits import CardLimits
from supervisor.domd.changes import Changes
from supervisor.domd.completions import ContainerCompletion, GuestCompletion
from supervisor.domd.container_info import ContainerInfo
from supervisor.domd.container_tuning import ContainerTuning
from supervisor.domd.definitions import Definitions
from supervisor.domd.devices import DeviceCalls
from supervisor.domd.documents import Documents
from supervisor.domd.driver import LXC, QEMU, Driver
from supervisor.domd.entry import Definition, Entry
from supervisor.domd.events import Publisher
from supervisor.domd.forwarding import Forwarding
from supervisor.domd.guests import Guests
from supervisor.domd.lifecycle import Lifecycle
from supervisor.domd.natives import Natives
from supervisor.domd.notes import Notes
from supervisor.domd.numbers import Numbers
from supervisor.domd.queries import Queries
from supervisor.domd.recovery import Recovery
from supervisor.domd.registry import Registry
from supervisor.domd.stats import Stats
from supervisor.domd.store import Store
from supervisor.domd.workers import Workers
from supervisor.messages.calls import ClientClosed
from supervisor.pidfd import boot_id
from supervisor.process import Process

log = logging.getLogger(__name__)


async def serve(process: Process) -> None:
    """Keep QEMU's guests until the process is told to stop."""
    completion = GuestCompletion(process.node, lambda: process.qemu_config)
    await keep(process, QEMU, Documents(completion))


async def serve_containers(process: Process) -> None:
    """Keep containers until the process is told to stop."""
    await keep(process, LXC, Documents(ContainerCompletion(architecture())))


async def keep(process: Process, driver: Driver, documents: Documents) -> None:
    """Keep the domains of a driver until the process is told to stop."""
    node, registry, paths = process.node, Registry(), process.paths.for_driver(driver.name)
    await asyncio.to_thread(paths.states().mkdir, parents=True, exist_ok=True)
    store, belongings = Store(paths), Belongings(paths)
    numbers = Numbers(paths.last_number())
    publisher = Publisher(node, driver.name)
    definitions = Definitions(registry, store, publisher)
    workers = Workers(node, driver)
    guests = Guests(registry, documents, workers, numbers, publisher)
    recovery = Recovery(node, registry, workers, guests)
    queries = Queries(registry, belongings)
    devices = DeviceCalls(registry, definitions, documents, guests)
    stats = Stats(node, registry, queries, driver)
    tuning = ContainerTuning(registry, definitions, documents, guests, workers)
    natives = Natives(documents)
    own = (ContainerInfo(registry, stats), tuning, natives) if driver is LXC else ()
    targets = (
        *own,
        queries,
        Changes(registry, definitions, documents, belongings, publisher, driver),
        Notes(registry, definitions, guests, publisher),
        devices,
        CardLimits(registry, devices),
        Lifecycle(registry, documents, definitions, belongings, guests, workers),
        stats,
    )
    load(store, registry)
    forward = Forwarding(node, registry).forward
    node.serve(Surface("domd", *targets, driver=driver.name, otherwise=forward, voice=driver.voice))
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
        entry = Entry(
            name=stored.name,
            uuid=stored.uuid,
            definition=Definition(stored.xml),
            autostart=stored.autostart,
        )
        if registry.by_uuid(entry.uuid) is not None:
            log.error("%s is left out: another domain has its UUID", entry.name)
            continue
        registry.add(entry)
