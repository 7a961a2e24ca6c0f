"""The way to one service by name, whichever process is that service at the moment.

Owns: the present connection to the service, and the subscriptions that outlive it.
May touch: the root, to be connected. May not touch: what messages mean.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from ipc.errors import BusError, DeadlineExceeded, PeerGone
from ipc.messages import Connect, Request, Subscribe
from ipc.peer import Peer

R = TypeVar("R")

BACKOFF_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # between attempts to link anew

log = logging.getLogger(__name__)


class Connector(Protocol):
    """What a link needs of its process."""

    @property
    def control(self) -> Peer:
        """The way to the root."""

    def attach(self, end: socket.socket, name: str) -> Peer:
        """Make a link of a connected socket."""


class Link:
    """Made by `Node.link`; connects at the first call or subscription."""

    def __init__(self, connector: Connector, service: str) -> None:
        """Be not connected yet."""
        self.service = service
        self._connector = connector
        self._peer: Peer | None = None
        self._connecting: asyncio.Task[Peer] | None = None
        self._tags: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, request: Request[R], *, deadline_s: float | None = None) -> R:
        """Ask the service, waiting for it to come up within the deadline.

        A request that was sent is never sent again.

        Args:
            request: its class has the deadline.
            deadline_s: another deadline, for a request whose work differs from call to call.

        Raises:
            PeerGone: the service ended while it worked on the request, or the root has gone.
            DeadlineExceeded: it did not come up or did not answer in time.
            NoSuchService: the root says that there will be none.
            BusError: there is no answer.
            Exception: the service's own refusal.
        """
        peer = self._peer
        if peer is None or peer.closed:
            return await self._call_when_up(request, deadline_s)
        try:
            number = peer.start(request, deadline_s)
        except PeerGone:  # nothing was sent
            return await self._call_when_up(request, deadline_s)
        answer: R = await peer.wait(number)
        return answer

    def subscribe(self, tag: str) -> None:
        """Keep a subscription to events of that tag."""
        self._tags.add(tag)
        if self._peer is None or self._peer.closed:
            self._spawn_reconnect()
        else:
            self._spawn(self._subscribe_now(self._peer, tag))

    def close(self) -> None:
        """Give the link up for good."""
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
            detail = f"{self.service} did not come up before the deadline"
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
        """Have the link made again, for there are subscriptions on it."""
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
                log.log(level, "there is still no link to %s: %s", self.service, error)
            else:
                return
            await asyncio.sleep(backoff_s(attempt))

    async def _subscribe_now(self, peer: Peer, tag: str) -> None:
        try:
            await peer.call(Subscribe(tags=[tag]))
        except BusError as error:
            log.warning("the link to %s is made anew: %s", self.service, error)
            peer.close()

    def _spawn(self, work: Any) -> None:  # noqa: ANN401  (a coroutine of this module)
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def backoff_s(attempt: int) -> float:
    """How long to wait before the next attempt, in seconds."""
    return BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]


def _retrieve_exception(task: asyncio.Task[Peer]) -> None:
    """Look at a failure, for those who waited for the task may have given up."""
    if not task.cancelled():
        task.exception()
