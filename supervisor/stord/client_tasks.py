"""Long operations end with the client that asked for them.

Owns: which client waits for which task. May not touch: what the tasks do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from supervisor.messages.calls import ClientClosed

RPCD = "rpcd"

log = logging.getLogger(__name__)


class ClientTasks:
    """The clients that wait for something long."""

    def __init__(self) -> None:
        """Know none."""
        self._tasks: dict[str, set[asyncio.Task[object]]] = {}

    @contextlib.contextmanager
    def cancel_on_close(self, client: str) -> Iterator[None]:
        """Cancel the task that runs the body when the client goes."""
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        tasks = self._tasks.setdefault(client, set())
        tasks.add(task)
        try:
            yield
        finally:
            tasks.discard(task)
            if not tasks:
                self._tasks.pop(client, None)

    def on_client_closed(self, event: ClientClosed) -> None:
        """A client has gone."""
        self._cancel(event.client)

    def on_peer_lost(self, peer: str) -> None:
        """A process has gone: with rpcd, all its clients."""
        if peer == RPCD:
            for client in list(self._tasks):
                self._cancel(client)

    def _cancel(self, client: str) -> None:
        for task in list(self._tasks.get(client, ())):
            log.info("a client has gone: what it waited for is given up")
            task.cancel()
