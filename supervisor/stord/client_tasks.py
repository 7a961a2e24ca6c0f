"""Cancels long operations when their client disconnects.

Owns: which tasks run for which client. May not touch: what the tasks do.
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
    """Running tasks by client."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[object]]] = {}

    @contextlib.contextmanager
    def cancel_on_close(self, client: str) -> Iterator[None]:
        """Cancel the task that runs the body when the client disconnects."""
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
        """Cancel the tasks of a client that disconnected."""
        self._cancel(event.client)

    def on_peer_lost(self, peer: str) -> None:
        """Cancel the tasks of all clients when rpcd is lost: their connections are."""
        if peer == RPCD:
            for client in list(self._tasks):
                self._cancel(client)

    def _cancel(self, client: str) -> None:
        for task in list(self._tasks.get(client, ())):
            log.info("the client disconnected: its operation is cancelled")
            task.cancel()
