"""Client of a pool's helper processes; implements `messages.PoolProcess`.

Owns: the helper processes of one pool: one for short requests, a dedicated one for each long
operation. May not touch: files. A request that changes nothing, or only removes what is left of
another, is repeated when its helper dies. A helper that misses its deadline is killed. While it
stays in uninterruptible sleep (D state: a dead NFS server, a failing disk) SIGKILL has no effect;
until the kernel reaps it, requests to its pool fail at once. Other pools are not affected.
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

from ipc import (
    BusError,
    DeadlineExceeded,
    HandlerFailed,
    Peer,
    PeerGone,
    Request,
    StandaloneEndpoint,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.stord.pool_process.fork_server import ForkedProcess, ForkServer
from supervisor.stord.pool_process.messages import REPEATABLE
from supervisor.stord.progress_log import log_io

R = TypeVar("R")

MAX_PENDING: Final = 128  # requests to one pool's process
ATTEMPTS: Final = 3  # for a request of `REPEATABLE`, while its process dies
KILL_S: Final = 0.5  # for a killed process to exit, unless it is in D state
MAX_DEDICATED: Final = 16  # concurrent long operations of one pool

log = logging.getLogger(__name__)


class HelperProcess:
    """One helper process and its socket."""

    def __init__(self, process: ForkedProcess, name: str) -> None:
        """Take ownership of the process; `close` ends it."""
        self.pid = process.pid
        self.peer = Peer(process.connection, name, StandaloneEndpoint(VirErrorCodec()))
        self.pending = 0
        self.is_given_up = False  # stord ends it: nobody may need it any more, or it hangs
        self.has_missed_deadline = False
        self.exit_event = asyncio.Event()
        self._pidfd = process.pidfd
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @property
    def has_exited(self) -> bool:
        """Return whether the process has exited."""
        return self.exit_event.is_set()

    @property
    def is_usable(self) -> bool:
        """Return whether requests can be sent."""
        return not self.has_exited and not self.peer.closed

    def kill(self) -> None:
        """Send SIGKILL; a process in D state exits when its system call returns."""
        self.peer.close()
        if not self.has_exited:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exit_event.set()


class PoolProcessClient:
    """Starts, calls and kills the helper processes of one pool."""

    def __init__(self, pool: str, fork_server: ForkServer) -> None:
        self._pool = pool
        self._fork_server = fork_server
        self._helper: HelperProcess | None = None
        self._killed: list[HelperProcess] = []
        self._dedicated = 0
        self._fork_lock = asyncio.Lock()

    @property
    def is_hung(self) -> bool:
        """Return whether a killed process is still in a system call on the storage."""
        self._killed = [helper for helper in self._killed if not helper.has_exited]
        return bool(self._killed)

    async def call(
        self, request: Request[R], *, deadline_s: float | None = None, finish: bool = False
    ) -> R:
        """Send a request to the pool's process; see `PoolProcess.call`."""
        attempts = ATTEMPTS if isinstance(request, REPEATABLE) else 1
        while True:
            attempts -= 1
            helper = await self._running_helper()
            try:
                return await self._call(helper, request, deadline_s, finish=finish)
            except PeerGone as error:
                self._kill(helper)
                if helper.has_missed_deadline:  # of the request before this one
                    raise self._hung_error(0) from error
                if not attempts or helper.is_given_up:
                    raise _broken_error(self._pool, error) from error

    async def _call(
        self, helper: HelperProcess, request: Request[R], deadline_s: float | None, *, finish: bool
    ) -> R:
        """Send a request to one process.

        Raises:
            VirError: as `call`.
            PeerGone: the process died.
        """
        if helper.pending >= MAX_PENDING:
            raise self._busy_error(f"{MAX_PENDING} requests wait for its storage")
        helper.pending += 1
        try:
            return await helper.peer.call(request, deadline_s=deadline_s, finish=finish)
        except DeadlineExceeded as error:
            helper.has_missed_deadline = True
            self._killed.append(helper)
            self._give_up(helper)
            raise self._hung_error(deadline_s or request.deadline_s) from error
        except HandlerFailed as error:
            raise _broken_error(self._pool, error) from error
        except PeerGone:
            raise
        except BusError as error:
            self._kill(helper)
            raise _broken_error(self._pool, error) from error
        finally:
            helper.pending -= 1

    async def call_dedicated(self, request: Request[R]) -> R:
        """Send a request to a new process; see `PoolProcess.call_dedicated`."""
        async with self.dedicated_process() as helper:
            try:
                with log_io(helper.pid):
                    return await helper.peer.call(request)
            except DeadlineExceeded as error:
                self._killed.append(helper)
                raise self._hung_error(request.deadline_s) from error
            except BusError as error:
                raise _broken_error(self._pool, error) from error

    @asynccontextmanager
    async def dedicated_process(self) -> AsyncIterator[HelperProcess]:
        """Start a process for the body and kill it after.

        Raises:
            VirError: RESOURCE_BUSY, OPERATION_TIMEOUT, SYSTEM_ERROR.
        """
        if self._dedicated >= MAX_DEDICATED:
            raise self._busy_error(f"{MAX_DEDICATED} long operations are running")
        self._dedicated += 1
        try:
            await self._check_not_hung()
            helper = await self._fork()
            try:
                yield helper
            finally:
                helper.kill()
        finally:
            self._dedicated -= 1

    def release(self) -> None:
        """Kill the pool's process, which may hold its directory; see `PoolProcess.release`."""
        if self._helper is not None:
            self._give_up(self._helper)

    async def _running_helper(self) -> HelperProcess:
        if self._helper is not None and self._helper.is_usable:
            return self._helper
        async with self._fork_lock:
            if self._helper is None or not self._helper.is_usable:
                await self._check_not_hung()
                self._helper = await self._fork()
            return self._helper

    async def _fork(self) -> HelperProcess:
        try:
            return HelperProcess(
                await self._fork_server.fork(), f"the storage of pool '{self._pool}'"
            )
        except (OSError, TimeoutError) as error:
            detail = f"cannot start a process for pool '{self._pool}': {error}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE) from error

    def _give_up(self, helper: HelperProcess) -> None:
        helper.is_given_up = True
        self._kill(helper)

    def _kill(self, helper: HelperProcess) -> None:
        helper.kill()
        if self._helper is helper:
            self._helper = None

    async def _check_not_hung(self) -> None:
        """Refuse while a killed process stays in D state: another one would hang as well."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                for helper in list(self._killed):
                    await helper.exit_event.wait()
        if self.is_hung:
            raise self._hung_error(0)

    def _hung_error(self, timeout_s: float) -> VirError:
        waited = f" in {timeout_s:g} s" if timeout_s else " before and still blocks"
        detail = (
            f"the storage of pool '{self._pool}' did not answer{waited}; check its server or disk "
            "(other pools are not affected)"
        )
        log.error("%s", detail)
        return VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE)

    def _busy_error(self, why: str) -> VirError:
        detail = f"pool '{self._pool}' is busy: {why}"
        return VirError(ErrorCode.RESOURCE_BUSY, detail, ErrorDomain.STORAGE)


def _broken_error(pool: str, error: Exception) -> VirError:
    detail = f"the helper process of pool '{pool}' failed: {error}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
