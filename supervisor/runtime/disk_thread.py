"""DiskThread: blocking changes of files, one after the other, in a thread of their own.

Owns: the thread. May not touch: what is changed.

A change that a client waits for pays for each wake-up and each lock on its way to the thread and
back: `ThreadPoolExecutor` has three locks and two futures for each call, and each of its threads
that waits is woken up for every call (CPython's SimpleQueue hands its lock on).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from queue import SimpleQueue

log = logging.getLogger(__name__)


def _nothing() -> None:
    """Do nothing; the default of `afterwards`."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change on its way to the thread."""

    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    context: Context
    make: Callable[[], None]
    afterwards: Callable[[], None]


class DiskThread:
    """The thread of one kind of change; it begins with the first one."""

    def __init__(self, name: str) -> None:
        """Name the thread; nothing runs yet."""
        self._name = name
        self._changes: SimpleQueue[_Change] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(
        self,
        make: Callable[[], None],
        afterwards: Callable[[], None] = _nothing,
        *,
        deadline_s: float,
    ) -> asyncio.Future[None]:
        """Have the thread make a change, after those that it was given before.

        Args:
            make: makes the change; what it raises is the future's error.
            afterwards: tidies up when the change has been reported; an error of it is logged.
            deadline_s: after so many seconds the future has a TimeoutError, and the change goes on.

        Returns:
            What is done with the change. To cancel it cancels no change.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(deadline_s, _settle, done, TimeoutError())
        done.add_done_callback(lambda _: timer.cancel())
        self._changes.put(_Change(loop, done, copy_context(), make, afterwards))
        return done

    def _run(self) -> None:
        while True:
            change = self._changes.get()
            error: BaseException | None = None
            try:
                change.context.run(change.make)
            except BaseException as raised:  # noqa: BLE001  (the top of a thread: who waits gets it)
                error = raised
            try:
                change.loop.call_soon_threadsafe(_settle, change.done, error)
                change.afterwards()
            except RuntimeError as closed:  # the loop has ended meanwhile
                log.debug("%s: a change is not reported: %s", self._name, closed)
            except Exception:
                log.exception("%s: a change is made, and not tidied up", self._name)
            # Nothing of a change is kept while the thread waits for the next one.
            del change, error


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    """Give a future its result, unless it has one or is cancelled."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
