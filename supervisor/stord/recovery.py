"""Start of stord: load definitions, reconnect to active pools, autostart.

Owns: that order. May touch: definition and status files, to read; pools through `Pools`.

A pool is active if its backend finds its storage accessible, whether it has a status file or not.
Temporary files that an earlier stord left in it are removed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from lxml import etree

from conf.storage import Pool, parse_pool
from rpc.errors import VirError
from supervisor.objects.autostart import autostart
from supervisor.objects.load import load_definitions, load_status
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool import PoolObject
from supervisor.stord.pools import Pools
from supervisor.stord.registry import POOL_XML, PoolRegistry
from supervisor.stord.status_xml import parse_status

MAX_STARTS: Final = 256  # pools at once: one that hangs must not delay the others
RECONNECT_S: Final = 1.0

log = logging.getLogger(__name__)

DEFAULT = """\
<pool type='dir'>
  <name>default</name>
  <target>
    <path/>
  </target>
</pool>
"""


def load(files: PoolFiles, registry: PoolRegistry) -> dict[PoolObject, Pool]:
    """Load every definition; return the pools that were active, and as what."""
    stored = [replace(file, xml=files.add_uuid(file.name, file.xml)) for file in files.load()]
    load_definitions(registry, stored, POOL_XML)
    return dict(load_status(registry, files.load_status(), POOL_XML, parse_status))


async def define_default(files: PoolFiles, registry: PoolRegistry, directory: Path) -> None:
    """Define the pool "default" of a session daemon at its first start; it may be undefined."""
    if not await asyncio.to_thread(files.is_first_start):
        return
    if registry.by_name("default") is None and not files.exists("default"):
        pool = parse_pool(DEFAULT.replace("<path/>", f"<path>{_escape(directory)}</path>"))
        obj = registry.make(*POOL_XML.identity(pool))
        obj.definition = pool
        await asyncio.to_thread(directory.mkdir, 0o711, parents=True, exist_ok=True)
        await asyncio.to_thread(files.save, "default", POOL_XML.format(pool))
        await asyncio.to_thread(files.set_autostart, "default", on=True)
        obj.autostart = True
        registry.add(obj)
    await asyncio.to_thread(files.mark_initialised)


def _escape(path: Path) -> str:
    element = etree.Element("path")
    element.text = str(path)
    whole = etree.tostring(element, encoding="unicode")
    return whole.removeprefix("<path>").removesuffix("</path>")


async def recover(
    were_active: dict[PoolObject, Pool], registry: PoolRegistry, pools: Pools
) -> set[asyncio.Task[None]]:
    """Reconnect to the active pools concurrently, and look which others' storage is accessible.

    Returns:
        The tasks of pools whose storage did not answer within `RECONNECT_S`; they continue in the
        background, so that a hung NFS server does not delay the start of stord.
    """
    tasks = [
        asyncio.create_task(_reconnect(obj, pool, registry, pools))
        for obj, pool in were_active.items()
    ]
    starts = asyncio.Semaphore(MAX_STARTS)
    tasks += [
        asyncio.create_task(_detect(obj, obj.definition, pools, starts))
        for obj in registry
        if obj.definition is not None and obj not in were_active
    ]
    if not tasks:
        return set()
    _, late = await asyncio.wait(tasks, timeout=RECONNECT_S)
    return late


async def _reconnect(obj: PoolObject, pool: Pool, registry: PoolRegistry, pools: Pools) -> None:
    try:
        async with obj.change_lock.hold("recovery"):
            await pools.reconnect(obj, pool)
    except (VirError, TimeoutError) as error:
        log.error("cannot reconnect to pool '%s', it is inactive: %s", obj.name, error)
    if not obj.is_listed:
        registry.remove(obj)


async def _detect(obj: PoolObject, pool: Pool, pools: Pools, starts: asyncio.Semaphore) -> None:
    try:
        async with starts, obj.change_lock.hold("detection"):
            if not obj.is_active:
                await pools.detect(obj, pool)
    except (VirError, TimeoutError) as error:
        log.info("the storage of pool '%s' is not accessible: %s", obj.name, error)


async def autostart_pools(files: PoolFiles, registry: PoolRegistry, pools: Pools) -> None:
    """Start what is marked for autostart, once in each boot of the host."""

    async def start(obj: PoolObject) -> None:
        if obj.definition is not None:
            await pools.start(obj, obj.definition)

    await autostart(registry, files, start, parallel=MAX_STARTS)
