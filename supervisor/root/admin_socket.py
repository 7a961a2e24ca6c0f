"""The socket of virtvisorctl: it lists the processes of the tree to the daemon's own user.

Owns: that socket and its protocol: one line of JSON is the request, one line the reply.
May not touch: the tree beyond reading it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from supervisor.messages.root import ProcessStatus
from supervisor.root.sockets import bind

REQUEST_S: Final = 10.0
MAX_LINE: Final = 4096
QUEUE: Final = 16

log = logging.getLogger(__name__)


class AdminRequest(msgspec.Struct, frozen=True):
    """The request of virtvisorctl; "status" is the only one."""

    ask: str


class AdminSocket:
    """Serves a Unix socket of mode 0600."""

    def __init__(self, path: Path, status: Callable[[], list[ProcessStatus]]) -> None:
        """Reply with the result of `status`, which is called in a thread."""
        self._path = path
        self._status = status
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
                if request.ask == "status":
                    rows = await asyncio.to_thread(self._status)
                    writer.write(msgspec.json.encode(rows) + b"\n")
                    await writer.drain()
        except (TimeoutError, OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("a request on virtvisorctl's socket failed: %s", error)
        finally:
            writer.close()
