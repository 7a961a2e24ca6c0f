"""Volumes are created completely or not at all, whichever step fails or process is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from conf.storage import Volume
from rpc.errors import ErrorCode, VirError
from rpc.values import StorageVol as VolumeId
from supervisor.messages.calls import ClientClosed
from supervisor.stord import recovery
from supervisor.stord.backends import directory
from supervisor.stord.backends.base import BackendContext, CreateOptions
from supervisor.stord.backends.file_volumes import (
    QUICK_ALLOCATION,
    QUICK_COPY,
    is_plain_clone,
    write_file,
)
from supervisor.stord.pool_process.temporary_names import temporary_name
from supervisor.stord.volume_info import VolumeInfo
from tests.unit.stord.stord_under_test import (
    HOST_TAG,
    Stord,
    call,
    fake_pool,
    stord_at,
    volume,
)

LARGE = QUICK_ALLOCATION + 4096  # bytes: written by a process of its own, then renamed
STEPS = (
    ("pool.create_raw_volume", 65536),
    ("pool.create_raw", LARGE),
    ("pool.commit_file", LARGE),
)


async def check_name_is_free(stord: Stord, name: str) -> None:
    """Check that nothing is left of a volume, and that it can be created."""
    assert stord.names() == []
    assert list(stord.active().volumes) == []
    assert stord.active().long_operations == 0
    assert (await stord.create(name)).name == name
    assert stord.names() == [name]


@pytest.mark.parametrize("fault", ["before", "after", "fail"])
@pytest.mark.parametrize(("step", "capacity"), STEPS)
async def test_failed_creation_leaves_nothing(
    tmp_path: Path, step: str, capacity: int, fault: str
) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        stord.fault(step, fault)
        with pytest.raises(VirError):
            await stord.create("v", capacity=capacity)
        await check_name_is_free(stord, "v")


@pytest.mark.parametrize(("step", "capacity"), STEPS)
@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_clean_up_that_dies_is_repeated(
    tmp_path: Path, step: str, capacity: int, fault: str
) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        stord.fault(step, "after")
        stord.fault("pool.abort_create", fault)
        with pytest.raises(VirError):
            await stord.create("v", capacity=capacity)
        await check_name_is_free(stord, "v")


@pytest.mark.parametrize(("step", "capacity"), STEPS)
async def test_creation_ends_with_its_client(tmp_path: Path, step: str, capacity: int) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        stord.fault(step, "pause")
        creation = asyncio.create_task(stord.create("v", client="gone", capacity=capacity))
        await stord.reached(step)
        stord.clients.on_client_closed(ClientClosed(client="gone"))
        await asyncio.sleep(0.05)
        stord.resume(step)
        with pytest.raises(asyncio.CancelledError):
            await creation
        await check_name_is_free(stord, "v")


async def test_failed_commit_keeps_the_file_that_has_the_name(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        (stord.images / "v").write_bytes(b"of another host")
        with pytest.raises(VirError) as refused:
            await stord.create("v")
        assert refused.value.code is ErrorCode.STORAGE_VOL_EXIST
        assert stord.names() == ["v"]
        assert (stord.images / "v").read_bytes() == b"of another host"


async def test_a_death_before_the_creation_keeps_the_file_that_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "CLOCK_SLACK_NS", -(10**9))  # the file is older than this
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        (stord.images / "v").write_bytes(b"of another host")
        stord.fault("pool.create_raw_volume", "before")
        with pytest.raises(VirError):
            await stord.create("v")
        assert (stord.images / "v").read_bytes() == b"of another host"
        assert stord.names() == ["v"]


async def test_name_is_reserved_while_its_volume_is_created(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        stord.fault("pool.create_raw_volume", "pause")
        creation = asyncio.create_task(stord.create("v"))
        await stord.reached("pool.create_raw_volume")
        with pytest.raises(VirError) as taken:
            await stord.create("v")
        assert taken.value.code is ErrorCode.STORAGE_VOL_EXIST
        with pytest.raises(VirError, match="asynchronous jobs running"):
            await stord.lifecycle.storage_pool_destroy(call(), pool)
        stord.resume("pool.create_raw_volume")
        await creation
        await stord.lifecycle.storage_pool_destroy(call(), pool)


async def test_created_volume_is_listed_when_the_space_cannot_be_read(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        invalidations = stord.bus.invalidations
        stord.fault("pool.get_space", "fail")
        await stord.create("v")
        assert list(stord.active().volumes) == ["v"]
        assert stord.bus.invalidations > invalidations  # rpcd may have cached a list without it


async def test_next_stord_lists_volumes_and_removes_partial_ones(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        await stord.create("whole")
    partial = temporary_name(HOST_TAG).replace(f"{HOST_TAG}-", f"{HOST_TAG}-1")  # another PID
    (tmp_path / "images" / partial).write_bytes(b"half")
    async with stord_at(tmp_path) as stord:
        were_active = recovery.load(stord.files, stord.registry)
        await recovery.recover(were_active, stord.registry, stord.pools)
        assert list(stord.active().volumes) == ["whole"]
        assert stord.names() == ["whole"]


# Clones.


CLONE_STEPS = (
    ("pool.clone_raw_volume", 65536),
    ("pool.copy_raw", QUICK_COPY + 65536),
    ("pool.commit_file", QUICK_COPY + 65536),
)


async def source_of(stord: Stord, size: int) -> VolumeId:
    """Create a volume "source" that is full of data."""
    source = await stord.create("source", capacity=size)
    (stord.images / "source").write_bytes(b"d" * size)
    return source


@pytest.mark.parametrize("fault", ["before", "after", "fail"])
@pytest.mark.parametrize(("step", "size"), CLONE_STEPS)
async def test_failed_clone_leaves_nothing_and_frees_its_source(
    tmp_path: Path, step: str, size: int, fault: str
) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await source_of(stord, size)
        stord.fault(step, fault)
        with pytest.raises(VirError):
            await stord.creation.storage_vol_create_xml_from(
                call(), pool, volume("clone"), source, 0
            )
        assert stord.names() == ["source"]
        assert stord.active().long_operations == 0
        await stord.volumes.storage_vol_delete(call(), source, 0)


@pytest.mark.parametrize(("step", "size"), CLONE_STEPS)
async def test_a_clone_ends_with_its_client(tmp_path: Path, step: str, size: int) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await source_of(stord, size)
        stord.fault(step, "pause")
        clone = asyncio.create_task(
            stord.creation.storage_vol_create_xml_from(
                call("gone"), pool, volume("clone"), source, 0
            )
        )
        await stord.reached(step)
        stord.clients.on_client_closed(ClientClosed(client="gone"))
        await asyncio.sleep(0)
        stord.resume(step)
        with pytest.raises(asyncio.CancelledError):
            await clone
        assert stord.names() == ["source"]
        assert list(stord.active().volumes) == ["source"]
        assert stord.active().long_operations == 0


@pytest.mark.parametrize("size", [65536, QUICK_COPY + 65536])
async def test_a_clone_has_the_data_of_its_source_as_it_is_now(tmp_path: Path, size: int) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await stord.create("source", capacity=4096)
        (stord.images / "source").write_bytes(b"d" * size)  # stord has not read it since
        await stord.creation.storage_vol_create_xml_from(
            call(), pool, volume("clone", 4096), source, 0
        )
        assert (stord.images / "clone").read_bytes() == b"d" * size
        listed = stord.active().volumes["clone"]
        assert (listed.capacity, listed.format, listed.mode) == (size, "raw", 0o600)
        larger = volume("larger", size + 512)
        await stord.creation.storage_vol_create_xml_from(call(), pool, larger, source, 0)
        assert (stord.images / "larger").read_bytes() == b"d" * size + bytes(512)


async def test_a_raw_clone_is_no_image_whatever_its_data_begin_with(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await stord.create("source", capacity=4096)
        header = b"QFI\xfb\0\0\0\2" + bytes(16) + (1 << 40).to_bytes(8, "big")
        (stord.images / "source").write_bytes(header.ljust(4096, b"\0"))
        clone = await stord.creation.storage_vol_create_xml_from(
            call(), pool, volume("clone", 4096), source, 0
        )
        assert stord.active().volumes["clone"].capacity == 4096
        for each in (source, clone):
            assert await stord.volume_queries.storage_vol_get_info(call(), each) == (0, 4096, 4096)


async def test_a_source_that_is_gone_is_named_and_listed_no_more(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await stord.create("source")
        (stord.images / "source").unlink()
        with pytest.raises(VirError, match="no storage vol with matching path") as refused:
            await stord.creation.storage_vol_create_xml_from(
                call(), pool, volume("clone"), source, 0
            )
        assert refused.value.code is ErrorCode.NO_STORAGE_VOL
        assert stord.names() == list(stord.active().volumes) == []


async def test_a_clone_keeps_the_file_that_has_its_name(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await stord.create("source")
        (stord.images / "clone").write_bytes(b"of another host")
        with pytest.raises(VirError) as refused:
            await stord.creation.storage_vol_create_xml_from(
                call(), pool, volume("clone"), source, 0
            )
        assert refused.value.code is ErrorCode.STORAGE_VOL_EXIST
        assert stord.names() == ["clone", "source"]
        assert (stord.images / "clone").read_bytes() == b"of another host"


@pytest.mark.parametrize(("step", "size"), CLONE_STEPS[:2])
async def test_source_cannot_be_deleted_while_it_is_cloned(
    tmp_path: Path, step: str, size: int
) -> None:
    async with stord_at(tmp_path) as stord:
        pool = await stord.start_pool()
        source = await source_of(stord, size)
        stord.fault(step, "pause")
        clone = asyncio.create_task(
            stord.creation.storage_vol_create_xml_from(call(), pool, volume("clone"), source, 0)
        )
        await stord.reached(step)
        with pytest.raises(VirError, match="still in use") as refused:
            await stord.volumes.storage_vol_delete(call(), source, 0)
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        stord.resume(step)
        assert (await clone).name == "clone"


# Backends that only allocate (logical, disk).


async def test_failed_copy_to_a_device_deletes_the_device(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        await stord.start_pool()
        source = await stord.create("source")
        group = await stord.lifecycle.storage_pool_create_xml(call(), fake_pool("vg"), 0)
        stord.fault("pool.copy_raw", "before")
        with pytest.raises(VirError):
            await stord.creation.storage_vol_create_xml_from(call(), group, volume("lv"), source, 0)
        assert stord.backend.called[-1] == "delete_volume"
        assert stord.active("vg").volumes == {}


async def test_allocation_holds_the_pools_lock(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        group = await stord.lifecycle.storage_pool_create_xml(call(), fake_pool("vg"), 0)
        stord.backend.waits["create_volume"] = asyncio.Event()
        creation = asyncio.create_task(
            stord.creation.storage_vol_create_xml(call(), group, volume("lv"), 0)
        )
        await asyncio.sleep(0.01)
        assert stord.object("vg").change_lock.holder == "create a volume"
        stord.backend.waits["create_volume"].set()
        assert (await creation).name == "lv"


async def test_metadata_that_a_format_has_not_cannot_be_preallocated() -> None:
    raw = Volume(name="v")
    with pytest.raises(VirError, match="only supported with qcow2") as refusal:
        await write_file(cast("BackendContext", None), raw, CreateOptions(preallocate=True), "t")
    assert refusal.value.code is ErrorCode.CONFIG_UNSUPPORTED


def test_only_a_raw_volume_of_the_same_pool_is_cloned_by_the_pools_own_process() -> None:
    def source(path: str, **fields: str) -> VolumeInfo:
        return VolumeInfo(name="v", key=path, path=path, **{"format": "raw", **fields})  # type: ignore[arg-type]

    raw, options = Volume(name="c"), CreateOptions()
    assert is_plain_clone(raw, source("/pool/v"), options, "/pool")
    assert not is_plain_clone(raw, source("/nfs/v"), options, "/pool")
    assert not is_plain_clone(raw, source("/pool/v", format="qcow2"), options, "/pool")
    assert not is_plain_clone(raw, source("/pool/v", encryption="luks"), options, "/pool")
    assert not is_plain_clone(raw, source("/pool/v"), CreateOptions(preallocate=True), "/pool")
