"""Definitions of networks, on disk and in memory: the disk first, then memory, then who listens.

Owns: the order of those, and that definitions are changed one after the other.
May touch: the store, in a thread; the registry. May not touch: running networks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from conf.network import Network, format_network
from rpc.enums import NetworkEventLifecycleType as Lifecycle
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.finishing import finish
from supervisor.jobs import Job
from supervisor.netd.entry import Entry
from supervisor.netd.events import Publisher
from supervisor.netd.registry import Registry
from supervisor.netd.store import Store
from supervisor.netd.words import system_error

DISK_S: Final = 20.0  # for the disk to take a change


class Definitions:
    """The definitions of one daemon."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        """Change these."""
        self._registry = registry
        self._store = store
        self._publisher = publisher
        self._turn = Job("definitions", ErrorDomain.NETWORK)

    async def define(self, network: Network) -> Entry:
        """Give a network this definition, a new one if need be.

        Raises:
            VirError: OPERATION_FAILED when its name or UUID is another's; SYSTEM_ERROR.
        """
        return await finish(self._define(network))

    async def claim(self, network: Network) -> Entry:
        """The network that a document is of; a new one has its name and UUID from now on.

        Raises:
            VirError: OPERATION_FAILED when its name or UUID is another's.
        """
        async with self._turn.hold("create"):
            entry = self._claimed(network)
            self._registry.add(entry)
            return entry

    async def undefine(self, entry: Entry) -> None:
        """Forget a definition; the network's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._undefine(entry))

    async def replace(self, entry: Entry, network: Network) -> None:
        """Give a defined network a changed definition; the network's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._replace(entry, network))

    async def set_autostart(self, entry: Entry, *, on: bool) -> None:
        """Have a network start with the host, or not; the network's job is the caller's.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        await finish(self._set_autostart(entry, on=on))

    def _claimed(self, network: Network) -> Entry:
        uuid = UUID(str(network.uuid)).bytes
        return self._registry.claim(network.name, uuid) or Entry(name=network.name, uuid=uuid)

    async def _define(self, network: Network) -> Entry:
        async with self._turn.hold("define"):
            entry = self._claimed(network)
            await self._save(entry, network)
            self._publisher.stale()
            entry.definition = network
            self._registry.add(entry)
            self._publisher.lifecycle(entry, Lifecycle.DEFINED)
            return entry

    async def _undefine(self, entry: Entry) -> None:
        async with self._turn.hold("undefine"):
            await self._disk("undefine", entry, lambda: self._store.remove(entry.name))
            self._publisher.stale()
            entry.definition, entry.autostart = None, False
            if not entry.is_active:
                self._registry.remove(entry)
            self._publisher.lifecycle(entry, Lifecycle.UNDEFINED)

    async def _replace(self, entry: Entry, network: Network) -> None:
        async with self._turn.hold("change"):
            await self._save(entry, network)
            self._publisher.stale()
            entry.definition = network

    async def _set_autostart(self, entry: Entry, *, on: bool) -> None:
        async with self._turn.hold("autostart"):
            word = "change the autostart of"
            await self._disk(word, entry, lambda: self._store.set_autostart(entry.name, on=on))
            self._publisher.stale()
            entry.autostart = on

    async def _save(self, entry: Entry, network: Network) -> None:
        text = format_network(network, inactive=True)
        await self._disk("define", entry, lambda: self._store.save(entry.name, text))

    async def _disk(self, word: str, entry: Entry, work: Callable[[], None]) -> None:
        with refused(f"{word} network '{entry.name}'"):
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(work)


@contextlib.contextmanager
def refused(doing: str) -> Iterator[None]:
    """Make the disk's errors the client's."""
    try:
        yield
    except TimeoutError as problem:
        detail = f"cannot {doing}: the disk did not take it in {DISK_S:.0f} s"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from problem
    except OSError as problem:
        raise system_error(f"cannot {doing}", problem) from problem
