"""How stord asks the processes that touch storage (`supervisor.stord.pool_process.messages.Work`).

Owns: one pool's processes: one for what is quick, further ones for what takes long.
May not touch: files. One that does not answer in time is killed; while it hangs in the kernel all
the same, its pool is refused at once, and no other pool notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from ipc import BusError, DeadlineExceeded, HandlerFailed, Peer, Request, StandaloneEndpoint
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.stord.pool_process.fork_server import Forked, Forker
from supervisor.stord.progress_log import followed

R = TypeVar("R")

MAX_WAITING: Final = 128  # questions to one pool's process
MOMENT_S: Final = 0.5
MAX_ALONE: Final = 16  # long operations of one pool at a time

log = logging.getLogger(__name__)


class Helper:
    """One such process."""

    def __init__(self, forked: Forked, name: str) -> None:
        """Follow it."""
        self.pid = forked.pid
        self.peer = Peer(forked.end, name, StandaloneEndpoint(VirErrorCodec()))
        self.waiting = 0
        self.gone = asyncio.Event()
        self._pidfd = forked.pidfd
        asyncio.get_running_loop().add_reader(self._pidfd, self._gone)

    @property
    def exited(self) -> bool:
        """Whether it has gone."""
        return self.gone.is_set()

    @property
    def usable(self) -> bool:
        """Whether it may be asked."""
        return not self.exited and not self.peer.closed

    def kill(self) -> None:
        """End it now; if it hangs in the kernel it ends when that lets it go."""
        self.peer.close()
        if not self.exited:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.gone.set()


class PoolWork:
    """One pool's processes."""

    def __init__(self, pool: str, forker: Forker) -> None:
        """Have none yet: the first question makes one."""
        self._pool = pool
        self._forker = forker
        self._helper: Helper | None = None
        self._hanging: list[Helper] = []
        self._alone = 0
        self._turn = asyncio.Lock()

    @property
    def hangs(self) -> bool:
        """Whether the storage did not answer, and still holds the process that was killed."""
        self._hanging = [helper for helper in self._hanging if not helper.exited]
        return bool(self._hanging)

    async def call(self, request: Request[R], *, deadline_s: float | None = None) -> R:
        """Ask the pool's process; see `Work.call`."""
        helper = await self._ready()
        if helper.waiting >= MAX_WAITING:
            raise self._busy(f"{MAX_WAITING} questions wait for its storage")
        helper.waiting += 1
        try:
            return await helper.peer.call(request, deadline_s=deadline_s)
        except DeadlineExceeded as error:
            self._hanging.append(helper)
            self._give_up(helper)
            raise self._hung(deadline_s or request.deadline_s) from error
        except HandlerFailed as error:
            raise _broken(self._pool, error) from error
        except BusError as error:
            self._give_up(helper)
            raise _broken(self._pool, error) from error
        finally:
            helper.waiting -= 1

    async def call_alone(self, request: Request[R]) -> R:
        """Ask a process of its own; see `Work.call_alone`."""
        async with self.alone() as helper:
            try:
                with followed(helper.pid):
                    return await helper.peer.call(request)
            except DeadlineExceeded as error:
                self._hanging.append(helper)
                raise self._hung(request.deadline_s) from error
            except BusError as error:
                raise _broken(self._pool, error) from error

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Helper]:
        """Have a process of one's own; it ends with the body.

        Raises:
            VirError: RESOURCE_BUSY, OPERATION_TIMEOUT, SYSTEM_ERROR.
        """
        if self._alone >= MAX_ALONE:
            raise self._busy(f"{MAX_ALONE} long operations run in it; let one end")
        self._alone += 1
        try:
            await self._refuse_hanging()
            helper = await self._fork()
            try:
                yield helper
            finally:
                helper.kill()
        finally:
            self._alone -= 1

    def release(self) -> None:
        """End the pool's process, which may hold its folder; the next question makes another."""
        if self._helper is not None:
            self._give_up(self._helper)

    async def _ready(self) -> Helper:
        async with self._turn:
            if self._helper is None or not self._helper.usable:
                await self._refuse_hanging()
                self._helper = await self._fork()
            return self._helper

    async def _fork(self) -> Helper:
        try:
            return Helper(await self._forker.fork(), f"the storage of pool '{self._pool}'")
        except (OSError, TimeoutError) as error:
            detail = f"cannot make a process for pool '{self._pool}': {error}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE) from error

    def _give_up(self, helper: Helper) -> None:
        helper.kill()
        if self._helper is helper:
            self._helper = None

    async def _refuse_hanging(self) -> None:
        """A process that was killed goes within a moment, unless it hangs in the kernel."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                for helper in list(self._hanging):
                    await helper.gone.wait()
        if self.hangs:
            raise self._hung(0)

    def _hung(self, timeout_s: float) -> VirError:
        waited = f" in {timeout_s:g} s" if timeout_s else ", nor did it when it was asked before"
        detail = (
            f"the storage of pool '{self._pool}' did not answer{waited}; is its server or disk "
            "there? Other pools are not concerned"
        )
        log.error("%s", detail)
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE)

    def _busy(self, why: str) -> VirError:
        detail = f"pool '{self._pool}' is busy: {why}"
        return VirError(ErrorCode.RESOURCE_BUSY, detail, ErrorDomain.STORAGE)


def _broken(pool: str, problem: Exception) -> VirError:
    detail = f"the work on pool '{pool}' was cut short: {problem}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
