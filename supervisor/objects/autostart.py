"""Autostart: objects that start with the host, once in each of its boots.

Owns: when that is done. May touch: objects, through the service's start; the mark on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from conf.errors import ConfError
from ipc import BusError
from rpc.errors import VirError
from supervisor.objects.definition_files import DefinitionFiles
from supervisor.objects.object import LibvirtObject
from supervisor.objects.registry import Registry
from supervisor.runtime.host import boot_id

E = TypeVar("E", bound=LibvirtObject[Any, Any])
D = TypeVar("D")

log = logging.getLogger(__name__)


async def _nothing() -> None:
    """Do nothing; the default of `before`."""


async def autostart(
    registry: Registry[E],
    files: DefinitionFiles,
    start: Callable[[E], Awaitable[None]],
    *,
    parallel: int,
    before: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Start what is marked for autostart; the boot is marked when all were tried.

    If this process dies on the way, its successor continues with those that are inactive.

    Args:
        registry: of the objects.
        files: of the objects; they remember the boot.
        start: starts an object that has a definition and is inactive.
        parallel: how many may be started at once.
        before: done first.
    """
    boot = boot_id()
    if await asyncio.to_thread(files.had_autostart, boot):
        return
    await before()
    slots = asyncio.Semaphore(parallel)

    async def start_one(obj: E) -> None:
        async with slots:
            await try_start(obj, start)

    await asyncio.gather(*(start_one(obj) for obj in registry if obj.autostart))
    type_name = registry.object_type.name
    try:
        await asyncio.to_thread(files.mark_autostarted, boot)
    except OSError as error:
        log.error("autostart of each %s is repeated after a restart: %s", type_name, error)


async def try_start(obj: E, start: Callable[[E], Awaitable[None]]) -> None:
    """Start an object that is inactive; a failure is logged."""
    type_name = obj.object_type.name
    try:
        async with obj.change_lock.hold("autostart"):
            if obj.is_persistent and not obj.is_active:
                await start(obj)
    except (BusError, VirError, ConfError, TimeoutError) as error:
        log.error("%s '%s' failed to autostart: %s", type_name, obj.name, error)
