"""Link: calls to a service by name, reconnected after each restart of its process.

Owns: the current connection to the service, and the subscriptions that outlive it.
May touch: the root, which makes connections. May not touch: what messages mean.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from ipc.errors import BusError, DeadlineExceeded, PeerGone
from ipc.messages import Connect, Request, Subscribe
from ipc.peer import Peer

R = TypeVar("R")

BACKOFF_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # between attempts to connect

log = logging.getLogger(__name__)


class Connector(Protocol):
    """What a link needs of its node."""

    @property
    def control(self) -> Peer:
        """The link to the root."""

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Make a peer of a connected socket."""


class Link:
    """A link to one service; made by `Node.link`, connected at the first call or subscription."""

    def __init__(self, connector: Connector, service: str) -> None:
        self.service = service
        self._connector = connector
        self._peer: Peer | None = None
        self._connecting: asyncio.Task[Peer] | None = None
        self._tags: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, request: Request[R], *, deadline_s: float | None = None) -> R:
        """Call the service, waiting for it to be ready within the deadline.

        A request that was sent is never sent again.

        Args:
            request: its class has the deadline.
            deadline_s: another deadline, for a request whose work differs from call to call.

        Raises:
            PeerGone: the service ended while it handled the request, or the root ended.
            DeadlineExceeded: it was not ready, or did not reply, in time.
            NoSuchService: the root does not start such a service.
            BusError: there is no reply.
            Exception: the service's own error.
        """
        return await self.begin(request, deadline_s)

    def begin(self, request: Request[R], deadline_s: float | None = None) -> Coroutine[Any, Any, R]:
        """Send a request now if the service is up; return the rest of `call`, to be awaited.

        Raises:
            BusError: as `call`, for a request that cannot be sent; but for `PeerGone`.
        """
        peer = self._peer
        if peer is not None and not peer.closed:
            try:
                return peer.wait(peer.start(request, deadline_s))
            except PeerGone:
                pass  # nothing was sent
        return self._call_when_up(request, deadline_s)

    def subscribe(self, tag: str) -> None:
        """Subscribe to events of a tag, now and after each reconnection."""
        self._tags.add(tag)
        if self._peer is None or self._peer.closed:
            self._spawn_reconnect()
        else:
            self._spawn(self._subscribe_now(self._peer, tag))

    def close(self) -> None:
        """Close the link for good."""
        self._closed = True
        for task in (self._connecting, *self._tasks):
            if task is not None:
                task.cancel()
        if self._peer is not None:
            self._peer.close()

    async def _call_when_up(self, request: Request[R], deadline_s: float | None) -> R:
        loop = asyncio.get_running_loop()
        end = loop.time() + (request.deadline_s if deadline_s is None else deadline_s)
        for attempt in count():
            try:
                peer = await self._connected(end - loop.time())
                number = peer.start(request, end - loop.time())
            except PeerGone:  # nothing was sent
                if self._closed or self._connector.control.closed:
                    raise
                await asyncio.sleep(min(backoff_s(attempt), max(0.0, end - loop.time())))
                continue
            answer: R = await peer.wait(number)
            return answer
        raise AssertionError("count() does not end")

    async def _connected(self, timeout_s: float) -> Peer:
        if self._peer is not None and not self._peer.closed:
            return self._peer
        if self._closed:
            raise PeerGone(f"the link to {self.service} has been closed")
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_retrieve_exception)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            detail = f"{self.service} was not ready before the deadline"
            raise DeadlineExceeded(detail) from None

    async def _connect(self) -> Peer:
        request = Connect(service=self.service)
        granted = await self._connector.control.call(request)
        sock = socket.socket(fileno=granted.descriptor.take())
        peer = self._connector.attach(sock, self.service)
        subscribed: set[str] = set()
        try:
            while missing := self._tags - subscribed:
                await peer.call(Subscribe(tags=sorted(missing)))
                subscribed |= missing
        except BaseException:
            peer.close()
            raise
        self._peer = peer
        peer.on_lost.append(self._lost)
        return peer

    def _lost(self, _: Peer) -> None:
        if self._tags:
            self._spawn_reconnect()

    def _spawn_reconnect(self) -> None:
        """Reconnect in the background, for there are subscriptions on the link."""
        if not self._closed and not self._connector.control.closed:
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        for attempt in count():
            try:
                await self._connected(Connect.deadline_s)
            except BusError as error:
                if self._closed or self._connector.control.closed:
                    return
                level = logging.WARNING if attempt == len(BACKOFF_S) else logging.DEBUG
                log.log(level, "no link to %s yet: %s", self.service, error)
            else:
                return
            await asyncio.sleep(backoff_s(attempt))

    async def _subscribe_now(self, peer: Peer, tag: str) -> None:
        try:
            await peer.call(Subscribe(tags=[tag]))
        except BusError as error:
            log.warning("the link to %s is reconnected: %s", self.service, error)
            peer.close()

    def _spawn(self, work: Any) -> None:  # noqa: ANN401  (a coroutine of this module)
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait before the next attempt."""
    return BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]


def _retrieve_exception(task: asyncio.Task[Peer]) -> None:
    """Retrieve a task's exception: asyncio logs those that no waiter has retrieved."""
    if not task.cancelled():
        task.exception()
