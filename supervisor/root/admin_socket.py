"""The socket of virtvisorctl: the processes of the tree, and why access control decides as it does.

It is the daemon's own user's.

Owns: that socket and its protocol: one line of JSON is the request, one line the reply.
May not touch: the tree beyond reading it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from ipc import BusError
from rpc.errors import VirError
from supervisor.messages.calls import AccessExplanation
from supervisor.messages.root import AccessReply, AccessRequest, AdminRequest, ProcessStatus
from supervisor.root.sockets import bind

REQUEST_S: Final = 10.0
MAX_LINE: Final = 4096
QUEUE: Final = 16

log = logging.getLogger(__name__)


class AdminSocket:
    """Serves a Unix socket of mode 0600."""

    def __init__(
        self,
        path: Path,
        status: Callable[[], list[ProcessStatus]],
        explain: Callable[[AccessRequest], Awaitable[AccessExplanation]],
    ) -> None:
        """Make the socket.

        Args:
            path: of the socket.
            status: lists the processes; it is called in a thread.
            explain: has a process explain access control; raises VirError, BusError.
        """
        self._path = path
        self._status = status
        self._explain = explain
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind the socket and serve.

        Raises:
            SocketError: the socket cannot be bound.
        """
        end = bind(self._path, 0o600, None, QUEUE)
        self._server = await asyncio.start_unix_server(self._serve, sock=end, limit=MAX_LINE)

    def close(self) -> None:
        """Close and unlink the socket."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                line = await reader.readline()
                request = msgspec.json.decode(line, type=AdminRequest)
                if (answer := await self._answer(request)) is not None:
                    writer.write(msgspec.json.encode(answer) + b"\n")
                    await writer.drain()
        except (TimeoutError, OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("a request on virtvisorctl's socket failed: %s", error)
        finally:
            writer.close()

    async def _answer(self, request: AdminRequest) -> list[ProcessStatus] | AccessReply | None:
        if request.ask == "status":
            return await asyncio.to_thread(self._status)
        if request.ask == "access" and request.access is not None:
            try:
                return AccessReply(explanation=await self._explain(request.access))
            except VirError as error:
                return AccessReply(error=error.message)
            except BusError as error:
                return AccessReply(error=str(error))
        return None
