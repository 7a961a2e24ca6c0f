"""Pools are active or inactive as their storage is, whatever fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rpc.enums import StoragePoolEventID
from rpc.errors import ErrorCode, VirError
from rpc.values import StoragePool as PoolId
from supervisor.stord import recovery
from supervisor.stord.volume_info import VolumeInfo
from tests.unit.stord.stord_under_test import REFUSED, Stord, call, fake_pool, stord_at

VOLUME = VolumeInfo(name="v", key="v", path="/dev/p/v")
TIMEOUT = VirError(ErrorCode.OPERATION_TIMEOUT, "hung")


async def defined(stord: Stord) -> PoolId:
    return await stord.lifecycle.storage_pool_define_xml(call(), fake_pool(), 0)


def has_status(stord: Stord) -> bool:
    return bool(stord.files.load_status())


async def test_started_pool_is_active_with_its_volumes(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        stord.backend.volumes["v"] = VOLUME
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        assert stord.backend.called == ["start", "refresh"]
        assert list(stord.active().volumes) == ["v"]
        assert has_status(stord)


@pytest.mark.parametrize(
    ("step", "called"), [("start", ["start"]), ("refresh", ["start", "refresh", "stop"])]
)
async def test_pool_whose_start_fails_stays_inactive(
    tmp_path: Path, step: str, called: list[str]
) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        events = len(stord.bus.client_events)
        stord.backend.errors[step] = REFUSED
        with pytest.raises(VirError, match="injected"):
            await stord.lifecycle.storage_pool_create(call(), pool, 0)
        assert stord.backend.called == called
        assert not stord.object().is_active
        assert not has_status(stord)
        assert len(stord.bus.client_events) == events


async def test_cancelled_start_is_undone(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        stord.backend.waits["refresh"] = asyncio.Event()
        start = asyncio.create_task(stord.lifecycle.storage_pool_create(call(), pool, 0))
        await stord.until(lambda: "refresh" in stord.backend.called)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert stord.backend.called == ["start", "refresh", "stop"]
        assert not stord.object().is_active
        assert not has_status(stord)


async def test_transient_pool_whose_start_fails_does_not_exist(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        stord.backend.errors["start"] = REFUSED
        with pytest.raises(VirError, match="injected"):
            await stord.lifecycle.storage_pool_create_xml(call(), fake_pool(), 0)
        assert list(stord.registry) == []
        assert not has_status(stord)


async def test_stopped_pool_is_inactive_and_a_transient_one_does_not_exist(
    tmp_path: Path,
) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.lifecycle.storage_pool_create_xml(call(), fake_pool(), 0)
        await stord.lifecycle.storage_pool_destroy(call(), pool)
        assert stord.backend.called == ["start", "refresh", "stop"]
        assert list(stord.registry) == []
        assert not has_status(stord)


async def test_pool_whose_stop_fails_stays_active(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.lifecycle.storage_pool_create_xml(call(), fake_pool(), 0)
        stord.backend.errors["stop"] = REFUSED
        with pytest.raises(VirError, match="injected"):
            await stord.lifecycle.storage_pool_destroy(call(), pool)
        assert stord.object().is_active
        assert has_status(stord)


async def test_stopped_pool_is_inactive_even_if_its_status_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise OSError(30, "Read-only file system")

    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        monkeypatch.setattr(stord.files, "remove_status", refuse)
        await stord.lifecycle.storage_pool_destroy(call(), pool)
        assert not stord.object().is_active  # its storage is deactivated


async def test_stop_of_a_client_that_closes_is_completed(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        stord.backend.waits["stop"] = asyncio.Event()
        stop = asyncio.create_task(stord.lifecycle.storage_pool_destroy(call(), pool))
        await stord.until(lambda: "stop" in stord.backend.called)
        stop.cancel()
        await asyncio.sleep(0.01)
        stord.backend.waits["stop"].set()
        with pytest.raises(asyncio.CancelledError):
            await stop
        assert not stord.object().is_active
        assert not has_status(stord)


async def test_failed_refresh_keeps_the_volumes_that_were_known(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        stord.backend.volumes["v"] = VOLUME
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        stord.backend.errors["refresh"] = REFUSED
        with pytest.raises(VirError, match="injected"):
            await stord.lifecycle.storage_pool_refresh(call(), pool, 0)
        assert list(stord.active().volumes) == ["v"]
        assert StoragePoolEventID.REFRESH not in stord.bus.client_events[-1:]


async def test_refresh_replaces_the_volumes_and_publishes_an_event(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        stord.backend.volumes["v"] = VOLUME
        await stord.lifecycle.storage_pool_refresh(call(), pool, 0)
        assert list(stord.active().volumes) == ["v"]
        assert stord.bus.client_events[-1] == StoragePoolEventID.REFRESH


@pytest.mark.parametrize("operation", ["build", "delete"])
async def test_storage_of_an_active_pool_is_neither_built_nor_deleted(
    tmp_path: Path, operation: str
) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await defined(stord)
        await stord.lifecycle.storage_pool_create(call(), pool, 0)
        with pytest.raises(VirError) as refused:
            await getattr(stord.lifecycle, f"storage_pool_{operation}")(call(), pool, 0)
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        assert operation not in stord.backend.called


# A restart of stord.


async def restarted(root: Path, stord: Stord) -> None:
    """Load and reconnect as `supervisor.stord.main` does."""
    were_active = recovery.load(stord.files, stord.registry)
    for task in await recovery.recover(were_active, stord.registry, stord.pools):
        await task


async def leave_active(root: Path) -> None:
    async with stord_at(root) as stord:
        await stord.lifecycle.storage_pool_create(call(), await defined(stord), 0)


async def test_next_stord_reconnects_to_an_active_pool(tmp_path: Path) -> None:
    await leave_active(tmp_path)
    async with stord_at(tmp_path) as stord:
        stord.backend.volumes["v"] = VOLUME
        await restarted(tmp_path, stord)
        assert stord.backend.called == ["check", "refresh"]  # nothing is started again
        assert list(stord.active().volumes) == ["v"]


async def test_a_defined_pool_whose_storage_is_accessible_is_active_after_the_start(
    tmp_path: Path,
) -> None:
    async with stord_at(tmp_path) as stord:
        await defined(stord)
    async with stord_at(tmp_path) as stord:
        stord.backend.volumes["v"] = VOLUME
        await restarted(tmp_path, stord)
        assert stord.backend.called == ["check", "refresh"]
        assert stord.object().is_active
        assert list(stord.active().volumes) == ["v"]
        assert has_status(stord)


@pytest.mark.parametrize("step", ["", "check", "refresh"])
async def test_a_defined_pool_whose_storage_is_not_accessible_stays_inactive(
    tmp_path: Path, step: str
) -> None:
    async with stord_at(tmp_path) as stord:
        await defined(stord)
    async with stord_at(tmp_path) as stord:
        stord.backend.is_active = bool(step)
        if step:
            stord.backend.errors[step] = TIMEOUT
        await restarted(tmp_path, stord)
        assert not stord.object().is_active
        assert not has_status(stord)


async def test_next_stord_forgets_a_pool_whose_storage_is_inactive(tmp_path: Path) -> None:
    await leave_active(tmp_path)
    async with stord_at(tmp_path) as stord:
        stord.backend.is_active = False
        await restarted(tmp_path, stord)
        assert not stord.object().is_active
        assert not has_status(stord)


@pytest.mark.parametrize(("step", "error"), [("check", TIMEOUT), ("refresh", REFUSED)])
async def test_pool_that_cannot_be_read_after_a_restart_stays_active(
    tmp_path: Path, step: str, error: VirError
) -> None:
    await leave_active(tmp_path)
    async with stord_at(tmp_path) as stord:
        stord.backend.errors[step] = error
        await restarted(tmp_path, stord)
        assert stord.object().is_active
        assert has_status(stord)


async def test_transient_pool_that_is_inactive_after_a_restart_does_not_exist(
    tmp_path: Path,
) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.lifecycle.storage_pool_create_xml(call(), fake_pool(), 0)
    async with stord_at(tmp_path) as stord:
        stord.backend.is_active = False
        await restarted(tmp_path, stord)
        assert list(stord.registry) == []
        assert not has_status(stord)
