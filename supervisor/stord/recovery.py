"""After a start of stord: which pools are there and active, and what starts with the host.

Owns: that order. May touch: the store, to read; pools, each through its own module.

A pool with a status document is active if its backend says so; what an earlier stord left
half-made in it is removed.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final
from uuid import UUID

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.storage import Pool, format_pool, parse_pool
from rpc.errors import VirError
from supervisor.objects.definition_files import StoredXml
from supervisor.runtime.host import boot_id
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool import PoolObject
from supervisor.stord.pools import Pools
from supervisor.stord.registry import POOLS, PoolRegistry

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


def load(store: PoolFiles, registry: PoolRegistry) -> dict[PoolObject, Pool]:
    """Know every definition on disk; which pools were active, and as what."""
    for stored in store.load():
        pool = _understood(stored, is_status=False)
        obj = _known(registry, pool) if pool is not None else None
        if obj is not None and obj.definition is None:
            obj.definition, obj.autostart = pool, stored.autostart
    were_active: dict[PoolObject, Pool] = {}
    for stored in store.load_status():
        pool = _understood(stored, is_status=True)
        obj = _known(registry, pool) if pool is not None else None
        if obj is not None and pool is not None:
            were_active[obj] = pool
    return were_active


def parse_status(text: str) -> Pool:
    """Read a status document.

    Raises:
        ConfError: it is none, or the pool in it is none.
    """
    root = parse_tree(text)
    pool = root.find("pool") if root.tag == "poolstate" else None
    if pool is None:
        raise ConfError("xml", "the status has no <pool>")
    return parse_pool(etree.tostring(pool, encoding="unicode", with_tail=False))


def _understood(stored: StoredXml, *, is_status: bool) -> Pool | None:
    """The pool of a stored document; None, with a log line, when it is none."""
    what = "status" if is_status else "definition"
    try:
        pool = parse_status(stored.xml) if is_status else parse_pool(stored.xml)
    except ConfError as error:
        log.error("the %s of pool '%s' is left out: %s", what, stored.name, error)
        return None
    if pool.name != stored.name:
        log.error("the %s in %s.xml is left out: it is of '%s'", what, stored.name, pool.name)
        return None
    return pool


def _known(registry: PoolRegistry, pool: Pool) -> PoolObject | None:
    uuid = UUID(pool.uuid).bytes
    try:
        obj = registry.match_or_conflict(pool.name, uuid) or PoolObject(
            POOLS, name=pool.name, uuid=uuid
        )
    except VirError as error:
        log.error("pool '%s' is left out: %s", pool.name, error)
        return None
    registry.add(obj)
    return obj


async def define_default(store: PoolFiles, registry: PoolRegistry, folder: Path) -> None:
    """Define the pool of a user's own daemon, once; who undefines it will not see it again."""
    if not await asyncio.to_thread(store.is_first_start):
        return
    if registry.by_name("default") is None:
        pool = parse_pool(DEFAULT.replace("<path/>", f"<path>{_escaped(folder)}</path>"))
        obj = PoolObject(POOLS, name="default", uuid=UUID(pool.uuid).bytes, definition=pool)
        await asyncio.to_thread(folder.mkdir, 0o711, parents=True, exist_ok=True)
        await asyncio.to_thread(store.save, "default", format_pool(pool))
        await asyncio.to_thread(store.set_autostart, "default", on=True)
        obj.autostart = True
        registry.add(obj)
    await asyncio.to_thread(store.mark_initialised)


def _escaped(path: Path) -> str:
    element = etree.Element("path")
    element.text = str(path)
    whole = etree.tostring(element, encoding="unicode")
    return whole.removeprefix("<path>").removesuffix("</path>")


async def recover(
    were_active: dict[PoolObject, Pool], registry: PoolRegistry, pools: Pools
) -> set[asyncio.Task[None]]:
    """Take the active pools over, side by side.

    Returns:
        What goes on in the background: pools that do not answer within a moment hold up no call
        on the others.
    """
    tasks = [
        asyncio.create_task(_reconnect(obj, pool, registry, pools))
        for obj, pool in were_active.items()
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
        log.error("pool '%s' is not active any more: %s", obj.name, error)
    if not obj.is_listed:
        registry.remove(obj)


async def autostart(store: PoolFiles, registry: PoolRegistry, pools: Pools) -> None:
    """Start what starts with the host, once in each of its boots."""
    boot = boot_id()
    if await asyncio.to_thread(store.had_autostart, boot):
        return
    async with asyncio.TaskGroup() as group:
        for obj in registry:
            if obj.autostart and obj.definition is not None and obj.runtime is None:
                group.create_task(_try_start(obj, pools))
    try:
        await asyncio.to_thread(store.mark_autostarted, boot)
    except OSError as error:
        log.error("pools may start once more after a restart: %s", error)


async def _try_start(obj: PoolObject, pools: Pools) -> None:
    """Start a pool that is off; one that cannot be started is logged."""
    try:
        async with obj.change_lock.hold("autostart"):
            if obj.definition is not None and obj.runtime is None:
                await pools.start(obj, obj.definition)
    except (VirError, TimeoutError) as error:
        log.error("pool '%s' does not start with the host: %s", obj.name, error)
