"""stord's pools and volumes over real helper processes in which faults can be injected."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conf.storage import PoolType
from ipc import Event, StandaloneEndpoint
from ipc.handlers import Handler, Handlers
from rpc.errors import ErrorCode, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.messages.calls import Client, ClientEvent, Identity, InvalidateCache
from supervisor.runtime.paths import Paths
from supervisor.stord.backends.base import BackendContext, BackendType
from supervisor.stord.backends.table import BACKENDS
from supervisor.stord.calls.lifecycle import PoolLifecycleCalls
from supervisor.stord.calls.query import PoolQueryCalls
from supervisor.stord.calls.transfer import TransferCalls
from supervisor.stord.calls.volume import VolumeCalls
from supervisor.stord.calls.volume_create import VolumeCreateCalls
from supervisor.stord.calls.volume_query import VolumeQueryCalls
from supervisor.stord.client_tasks import ClientTasks
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.pool import ActivePool, PoolObject
from supervisor.stord.pool_process.fork_server import ForkServer
from supervisor.stord.pool_process.main import run_endpoint
from supervisor.stord.pools import Pools
from supervisor.stord.registry import PoolRegistry, pool_definitions
from supervisor.stord.secrets import SecretName
from supervisor.stord.volume_info import NewVolume, PoolInfo, VolumeInfo

HOST_TAG: Final = "0a0b0c0d"
POLL_S: Final = 0.005
REFUSED: Final = VirError(ErrorCode.SYSTEM_ERROR, "injected")


class Bus:
    """Records what stord publishes."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.control = self

    def send(self, message: Event) -> None:
        self.events.append(message)

    def publish(self, event: Event) -> None:
        self.events.append(event)

    @property
    def client_events(self) -> list[int]:
        """The ids of the events for clients."""
        return [event.event_id for event in self.events if isinstance(event, ClientEvent)]

    @property
    def invalidations(self) -> int:
        return sum(isinstance(event, InvalidateCache) for event in self.events)


class FaultyHandlers(Handlers):
    """Handlers of a helper process; a file named like a request's tag says what goes wrong.

    "before", "after": the process dies before or after the request is done; "fail": it is refused;
    "pause": it waits until the file is removed; "hang": it waits for ever. The first three happen
    once.
    """

    def __init__(self, faults: Path) -> None:
        super().__init__()
        self._faults = faults

    def find(self, tag: str) -> Handler | None:
        handler = super().find(tag)
        if handler is None:
            return None
        run, fault = handler.run, self._faults / tag

        def run_with_fault(request: object) -> object:
            kind = fault.read_text() if fault.exists() else ""
            if kind in ("before", "after", "fail"):
                fault.unlink()
            if kind == "before":
                os._exit(1)
            if kind == "fail":
                raise REFUSED
            while kind in ("pause", "hang") and fault.exists():
                fault.with_suffix(".reached").touch()
                time.sleep(POLL_S)
            result = run(request)
            if kind == "after":
                os._exit(1)
            return result

        return Handler(run_with_fault, handler.decoder)


class FakeBackend:
    """A backend whose methods can be made to fail or wait."""

    copies_data = False

    def __init__(self) -> None:
        self.called: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.waits: dict[str, asyncio.Event] = {}
        self.is_active = True
        self.volumes: dict[str, VolumeInfo] = {}

    async def _do(self, name: str) -> None:
        self.called.append(name)
        if name in self.waits:
            await self.waits[name].wait()
        if name in self.errors:
            raise self.errors[name]

    async def check(self) -> bool:
        await self._do("check")
        return self.is_active

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    async def refresh(self) -> PoolInfo:
        await self._do("refresh")
        return PoolInfo(capacity=100, available=60, volumes=tuple(self.volumes.values()))

    async def read_space(self) -> PoolInfo:
        await self._do("read_space")
        return PoolInfo(capacity=100, available=50)

    async def build(self, overwrite: object) -> None:
        await self._do("build")

    async def delete(self) -> None:
        await self._do("delete")

    async def refresh_volume(self, volume: VolumeInfo) -> VolumeInfo:
        await self._do("refresh_volume")
        if volume.name not in self.volumes:
            raise VirError(ErrorCode.NO_STORAGE_VOL, volume.name)
        return self.volumes[volume.name]

    async def create_volume(self, definition: object, options: object) -> NewVolume:
        await self._do("create_volume")
        name = str(getattr(definition, "name", ""))
        self.volumes[name] = VolumeInfo(name=name, key=name, path=f"/dev/null/{name}", capacity=10)
        return NewVolume(volume=self.volumes[name])

    async def clone_at_once(self, definition: object, source: VolumeInfo, options: object) -> None:
        pass

    async def delete_volume(self, volume: VolumeInfo, *, zeroed: bool) -> None:
        await self._do("delete_volume")
        self.volumes.pop(volume.name, None)

    async def resize_volume(self, volume: VolumeInfo, capacity: int, options: object) -> None:
        await self._do("resize_volume")


async def no_secret(name: SecretName) -> bytes:
    raise VirError(ErrorCode.NO_SECRET, name.uuid or name.usage)


@dataclass
class Stord:
    """One life of stord over the files of a test."""

    root: Path
    server: ForkServer
    bus: Bus
    backend: FakeBackend = field(default_factory=FakeBackend)

    def __post_init__(self) -> None:
        publisher = Publisher(self.bus, "storage_pool")
        keep_running = KeepRunningVote(self.bus, busy="busy", idle="idle")
        backends = {
            PoolType.DIR: BACKENDS[PoolType.DIR],
            PoolType.LOGICAL: BackendType(self._fake),
        }
        self.registry = PoolRegistry()
        self.files = PoolFiles(Paths.system(self.root))
        self.pools = Pools(
            self.registry, self.files, publisher, backends, self.server, no_secret, HOST_TAG,
            session=False,
        )  # fmt: skip
        self.clients = ClientTasks()
        definitions = pool_definitions(self.registry, self.files, publisher)
        self.lifecycle = PoolLifecycleCalls(self.registry, definitions, self.pools, backends)
        self.queries = PoolQueryCalls(self.registry, backends)
        self.volume_queries = VolumeQueryCalls(self.registry, self.pools)
        shared = (self.registry, self.pools, publisher, keep_running, self.clients)
        self.creation = VolumeCreateCalls(*shared)
        self.volumes = VolumeCalls(*shared)
        self.transfers = TransferCalls(self.registry, self.pools, keep_running)

    def _fake(self, context: BackendContext) -> FakeBackend:
        return self.backend

    @property
    def images(self) -> Path:
        """The directory of the pool "p"."""
        return self.root / "images"

    def names(self) -> list[str]:
        """The files in the pool's directory, temporary ones included."""
        return sorted(path.name for path in self.images.iterdir())

    def object(self, name: str = "p") -> PoolObject:
        return self.registry.get_by_name(name)

    def active(self, name: str = "p") -> ActivePool:
        active = self.object(name).runtime
        assert active is not None
        return active

    async def start_pool(self) -> PoolId:
        """Define and start the directory pool "p"."""
        self.images.mkdir(exist_ok=True)
        return await self.lifecycle.storage_pool_create_xml(call(), dir_pool(self.images), 0)

    async def create(self, name: str, client: str = "c", capacity: int = 65536) -> VolumeId:
        """Create a raw volume in "p", of 64 KiB where nothing else is asked for."""
        pool, xml = self.object().identity, volume(name, capacity)
        return await self.creation.storage_vol_create_xml(call(client), pool, xml, 0)

    def fault(self, tag: str, kind: str) -> None:
        """Inject a fault into the helper processes."""
        (self.root / "faults" / tag).write_text(kind)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that no event announces."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def reached(self, tag: str) -> None:
        """Wait until a request is paused."""
        await self.until((self.root / "faults" / tag).with_suffix(".reached").exists)

    def resume(self, tag: str) -> None:
        """Let a paused request go on."""
        (self.root / "faults" / tag).unlink()


@contextlib.asynccontextmanager
async def stord_at(root: Path) -> AsyncIterator[Stord]:
    """Run stord's pools and volumes; the files below `root` outlive it."""
    faults = root / "faults"
    faults.mkdir(exist_ok=True)

    def child_main(connection: socket.socket) -> None:
        endpoint = StandaloneEndpoint(VirErrorCodec())
        endpoint.handlers = FaultyHandlers(faults)
        run_endpoint(connection, endpoint)

    server = ForkServer.start(child_main)
    stord = Stord(root, server, Bus())
    try:
        yield stord
    finally:
        await stord.transfers.close()
        for obj in stord.registry:
            if obj.runtime is not None:
                obj.runtime.process.release()
        server.close()
        await asyncio.sleep(0)  # sockets are closed in the loop's next iteration


def call(client: str = "c") -> ClientCall:
    return ClientCall(
        Client(
            id=client,
            identity=Identity(uid=0, gid=0, pid=1),
            read_only=False,
            uri="qemu:///system",
            driver="qemu",
        )
    )


def dir_pool(path: Path) -> str:
    return f"<pool type='dir'><name>p</name><target><path>{path}</path></target></pool>"


def fake_pool(name: str = "p") -> str:
    return (
        f"<pool type='logical'><name>{name}</name>"
        f"<source><device path='/dev/{name}'/><name>{name}</name></source></pool>"
    )


def volume(name: str, capacity: int = 65536) -> str:
    return (
        f"<volume><name>{name}</name><capacity>{capacity}</capacity>"
        "<target><format type='raw'/></target></volume>"
    )
