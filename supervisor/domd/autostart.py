"""Domains that start with the host, once in each of its boots.

Owns: when that is done. May touch: guests through `domd.running_domains`; the store's mark.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from conf.errors import ConfError
from ipc import BusError
from rpc.errors import VirError
from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains

AT_ONCE: Final = max(2, os.cpu_count() or 2)

log = logging.getLogger(__name__)


async def autostart(
    store: DomainDefinitionFiles, registry: DomainRegistry, guests: RunningDomains, boot: str
) -> None:
    """Start what starts with the host, some at a time; the boot is marked when all were tried.

    If this process dies on the way its successor goes on with those that do not run.
    """
    if store.had_autostart(boot):
        return
    room = asyncio.Semaphore(AT_ONCE)

    async def start_one(entry: DomainObject) -> None:
        async with room:
            await try_start(entry, guests)

    await asyncio.gather(*(start_one(entry) for entry in registry if entry.autostart))
    try:
        store.mark_autostarted(boot)
    except OSError as error:
        log.error("domains may start once more after a restart: %s", error)


async def try_start(entry: DomainObject, guests: RunningDomains) -> None:
    """Start a domain that is off; one that cannot be started is logged."""
    try:
        async with entry.change_lock.hold("autostart"):
            if entry.definition is not None and not entry.is_active:
                await guests.start(entry, entry.definition)
    except (BusError, VirError, ConfError, TimeoutError) as error:
        log.error("%s does not start with the host: %s", entry.name, error)
