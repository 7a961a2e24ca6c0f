"""Volumes that are deleted, resized, wiped, uploaded and downloaded while processes die."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.messages.calls import ClientClosed, StreamEnd
from tests.unit.stord.stord_under_test import Stord, call, stord_at


async def with_volume(stord: Stord) -> VolumeId:
    await stord.start_pool()
    return await stord.create("v")


@pytest.mark.parametrize("fault", ["before", "fail"])
async def test_volume_whose_deletion_fails_stays_listed(tmp_path: Path, fault: str) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        stord.fault("pool.remove", fault)
        with pytest.raises(VirError):
            await stord.volumes.storage_vol_delete(call(), vol, 0)
        assert stord.names() == list(stord.active().volumes) == ["v"]
        await stord.volumes.storage_vol_delete(call(), vol, 0)
        assert stord.names() == list(stord.active().volumes) == []


async def test_volume_whose_process_died_after_its_removal_is_not_listed(
    tmp_path: Path,
) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        stord.fault("pool.remove", "after")
        invalidations = stord.bus.invalidations
        with pytest.raises(VirError):
            await stord.volumes.storage_vol_delete(call(), vol, 0)
        assert list(stord.active().volumes) == []
        assert stord.bus.invalidations > invalidations


async def test_file_that_somebody_removed_is_not_listed_after_a_query(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        (stord.images / "v").unlink()
        invalidations = stord.bus.invalidations
        with pytest.raises(VirError) as missing:
            await stord.volume_queries.storage_vol_get_info(call(), vol)
        assert missing.value.code is ErrorCode.NO_STORAGE_VOL
        assert list(stord.active().volumes) == []
        assert stord.bus.invalidations > invalidations


async def test_deletion_is_completed_when_its_client_closes(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        stord.fault("pool.remove", "pause")
        deletion = asyncio.create_task(stord.volumes.storage_vol_delete(call("gone"), vol, 0))
        await stord.reached("pool.remove")
        stord.clients.on_client_closed(ClientClosed(client="gone"))
        await asyncio.sleep(0.02)
        stord.resume("pool.remove")
        with pytest.raises(asyncio.CancelledError):
            await deletion
        assert stord.names() == list(stord.active().volumes) == []


@pytest.mark.parametrize("fault", ["before", "fail"])
@pytest.mark.parametrize("tag", ["pool.resize", "pool.wipe"])
async def test_volume_is_free_again_after_a_failed_change(
    tmp_path: Path, tag: str, fault: str
) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        for attempt in range(2):
            if attempt == 0:
                stord.fault(tag, fault)
            try:
                if tag == "pool.resize":
                    await stord.volumes.storage_vol_resize(call(), vol, 1 << 20, 0)
                else:
                    await stord.volumes.storage_vol_wipe(call(), vol, 0)
            except VirError:
                assert attempt == 0
            assert stord.active().long_operations == 0
        size = 1 << 20 if tag == "pool.resize" else 65536
        assert (stord.images / "v").stat().st_size == size


# Transfers.


def stream_of(upload: ClientCall) -> tuple[socket.socket, str]:
    assert upload.stream is not None
    connection = socket.socket(fileno=upload.stream.descriptor.take())
    connection.setblocking(False)
    return connection, upload.stream.token


async def test_uploaded_bytes_are_in_the_volume_when_the_stream_is_finished(
    tmp_path: Path,
) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        upload = call()
        await stord.transfers.storage_vol_upload(upload, vol, 0, 0, 0)
        connection, token = stream_of(upload)
        await asyncio.get_running_loop().sock_sendall(connection, b"x" * 1000)
        connection.close()
        await stord.transfers.stream_end(StreamEnd(token=token, aborted=False))
        assert (stord.images / "v").read_bytes()[:1001] == b"x" * 1000 + b"\0"
        assert stord.active().long_operations == 0


@pytest.mark.parametrize("fault", ["before", "fail"])
async def test_failed_upload_is_reported_at_the_end_of_its_stream(
    tmp_path: Path, fault: str
) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        stord.fault("pool.receive", fault)
        upload = call()
        await stord.transfers.storage_vol_upload(upload, vol, 0, 0, 0)
        connection, token = stream_of(upload)
        connection.close()
        with pytest.raises(VirError):
            await stord.transfers.stream_end(StreamEnd(token=token, aborted=False))
        assert stord.active().long_operations == 0
        await stord.volumes.storage_vol_delete(call(), vol, 0)


async def test_volume_cannot_be_deleted_while_it_is_uploaded(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        upload = call()
        await stord.transfers.storage_vol_upload(upload, vol, 0, 0, 0)
        connection, token = stream_of(upload)
        await asyncio.sleep(0)
        with pytest.raises(VirError, match="still in use"):
            await stord.volumes.storage_vol_delete(call(), vol, 0)
        connection.close()
        await stord.transfers.stream_end(StreamEnd(token=token, aborted=True))
        await stord.volumes.storage_vol_delete(call(), vol, 0)
        assert stord.names() == []


async def test_two_uploads_at_once_never_write_the_same_volume(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        first, second = call(), call()
        results = await asyncio.gather(
            stord.transfers.storage_vol_upload(first, vol, 0, 0, 0),
            stord.transfers.storage_vol_upload(second, vol, 0, 0, 0),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [type(None), VirError]
        connection, token = stream_of(first)
        connection.close()
        await stord.transfers.stream_end(StreamEnd(token=token, aborted=False))
        second.discard()


async def test_transfers_of_a_lost_rpcd_end(tmp_path: Path) -> None:
    async with stord_at(tmp_path) as stord:
        vol = await with_volume(stord)
        upload = call()
        await stord.transfers.storage_vol_upload(upload, vol, 0, 0, 0)
        connection, _ = stream_of(upload)
        stord.transfers.on_peer_lost("rpcd")
        connection.close()  # rpcd's descriptors
        await stord.until(lambda: not stord.active().long_operations)
        await stord.volumes.storage_vol_delete(call(), vol, 0)
