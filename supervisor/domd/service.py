"""domd: the registry of domains.

Owns: definitions, numbers, the jobs of domains, and which worker drives which guest.
May touch: `etc/libvirt/qemu`; workers and hostd over the bus; the root, for workers.
May not touch: guests themselves, client sockets.
Runs with: the daemon's own files, no capability.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ipc import BusError, Node
from rpc import table
from rpc.errors import VirError
from rpc.values import Domain as DomainId
from supervisor.calls import Surface
from supervisor.domd.changes import Changes
from supervisor.domd.documents import Documents
from supervisor.domd.entry import Definition, Entry
from supervisor.domd.events import Publisher
from supervisor.domd.guests import Guests
from supervisor.domd.lifecycle import Lifecycle
from supervisor.domd.queries import Queries
from supervisor.domd.registry import Registry, not_running
from supervisor.domd.stats import Stats
from supervisor.domd.store import Store, identify
from supervisor.messages.calls import Answer, ClientClosed, Invoke
from supervisor.paths import Paths
from supervisor.process import Process

FORWARD_S = 60.0

log = logging.getLogger(__name__)


class Forwarding:
    """Hands clients' calls on running guests to the workers that drive them."""

    def __init__(self, node: Node, registry: Registry) -> None:
        """Hand them on over this bus."""
        self._node = node
        self._registry = registry
        self._table = table.load()

    async def forward(self, invoke: Invoke) -> Answer:
        """Have the worker of the call's domain answer it.

        Raises:
            VirError: NO_DOMAIN, OPERATION_INVALID when it is off, or the worker's refusal.
        """
        program = self._table.program(invoke.program)
        procedure = program.procedure(invoke.procedure) if program else None
        assert procedure is not None, "rpcd passes on only what the table has"
        domain = procedure.decode_args(invoke.payload)[0]
        assert isinstance(domain, DomainId), "every call of a worker's begins with its domain"
        entry = self._registry.find(domain)
        if not entry.is_active:
            raise not_running(entry)
        return await self._node.link(entry.worker).call(invoke, timeout_s=FORWARD_S)


async def serve(process: Process) -> None:
    """Answer until the process is told to stop."""
    node, registry = process.node, Registry()
    store, documents, publisher = Store(process.paths), Documents(node), Publisher(node)
    load(store, registry)
    guests = Guests(node, registry, publisher)
    changes = Changes(registry, store, documents, publisher)
    queries = Queries(registry)
    lifecycle = Lifecycle(registry, documents, changes, guests, publisher)
    stats = Stats(node, registry, queries)
    forwarding = Forwarding(node, registry)
    targets = (queries, changes, lifecycle, stats)
    node.serve(Surface("domd", *targets, otherwise=forwarding.forward))
    process.on_reload.append(documents.forget_facts)
    await recover(process.paths, registry, guests)
    await process.ready()
    node.subscribe("rpcd", ClientClosed, lambda event: guests.client_closed(event.client))
    starting = asyncio.create_task(autostart(store, registry, guests))
    await process.stopping.wait()
    starting.cancel()


def load(store: Store, registry: Registry) -> None:
    """Know every definition on disk."""
    for stored in store.load():
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


async def recover(paths: Paths, registry: Registry, guests: Guests) -> None:
    """Take over the guests that run already, all at once."""
    found = await asyncio.to_thread(running_before, paths)
    work = []
    for name, uuid in found:
        entry = registry.by_name(name) or Entry(name=name, uuid=uuid)
        work.append(recover_one(entry, guests))
    await asyncio.gather(*work)


async def recover_one(entry: Entry, guests: Guests) -> None:
    """Take over one guest; a worker that does not come up is the root's to retry."""
    try:
        await guests.recover(entry)
    except (BusError, VirError) as problem:
        log.error("%s runs, but its worker does not answer: %s", entry.name, problem)


def running_before(paths: Paths) -> list[tuple[str, bytes]]:
    """The guests that have a status document: name and UUID."""
    found = []
    for path in sorted(Path(paths.states()).glob("*.xml")):
        try:
            stored = identify(path.read_text(encoding="utf-8"), autostart=False)
        except (OSError, ValueError) as problem:
            log.error("%s cannot be read: %s", path, problem)
            continue
        found.append((stored.name, stored.uuid))
    return found


async def autostart(store: Store, registry: Registry, guests: Guests) -> None:
    """Start what starts with the host, once a boot of the host."""
    if not store.first_autostart():
        return
    for entry in registry:
        if not entry.autostart or entry.is_active:
            continue
        try:
            async with entry.job.hold("autostart"):
                await guests.start(entry)
        except (BusError, VirError) as problem:
            log.error("%s does not start with the host: %s", entry.name, problem)
