"""The tables of legacy iptables, through a child process that drives libiptc.

Owns: that process. May not touch: tables, except through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.commands import DEADLINE_S, run
from supervisor.netd.firewall.iptables_save import IptablesTable, TableChange
from supervisor.netd.firewall.rules import CHAINS, Family
from supervisor.netd.firewall.xtables_child import CHECK, LOCK
from supervisor.netd.firewall.xtables_messages import (
    CommitTable,
    ReadTables,
    Refused,
    ReleaseLock,
    Reply,
    Request,
    TablesRead,
)
from supervisor.runtime.subprocesses import ENVIRONMENT

CHILD: Final = "supervisor.netd.firewall.xtables_child"
LINE: Final = 16 << 20  # bytes of a reply: the rules of our chains and of those that jump to them
READ_CHAINS: Final = sorted({name for chain in CHAINS for name in (chain.name, chain.hook)})

log = logging.getLogger(__name__)


async def python_iptables_works(
    argv: Sequence[str] = (sys.executable, "-m", CHILD, CHECK),
) -> bool:
    """Return whether python-iptables is installed and translates rules on this host.

    It is compiled, so it is optional. It reads libxtables' structures by their layout in C, which
    iptables 1.8.11 changed: there python-iptables 1.2 finds only the first option of a match.
    """
    if importlib.util.find_spec("iptc") is None:
        log.info("iptables is the legacy one: install python-iptables for structured rules")
        return False
    ended = await run(argv)
    if ended.code != 0:
        *_, reason = ended.output_text.strip().splitlines() or [f"status {ended.code}"]
        log.info("python-iptables does not fit this host's libxtables: %s", reason)
    return ended.code == 0


class XtablesProcess:
    """The child process; it is started when it is needed, and ends when it has been idle."""

    def __init__(self, argv: Sequence[str] = (sys.executable, "-m", CHILD)) -> None:
        self._argv = argv
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    async def ask(self, request: Request) -> Reply:
        """Send a request and return the reply.

        Raises:
            VirError: INTERNAL_ERROR: the process cannot be started or ended; OPERATION_TIMEOUT: it
                did not reply, and is killed.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = await self._exchange(request)
        except TimeoutError:
            detail = f"libiptc did not reply in {DEADLINE_S:g} s"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.FIREWALL) from None
        except OSError as error:
            detail = f"the process that drives libiptc cannot be used: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL) from error
        reply: Reply = msgspec.json.decode(line, type=Reply)
        return reply

    async def _exchange(self, request: Request) -> bytes:
        message = msgspec.json.encode(request) + b"\n"
        try:
            # The process may have ended while it was idle; a first request may be sent again.
            if self._process is not None and isinstance(request, ReadTables):
                with contextlib.suppress(OSError):
                    line = await self._send(self._process, message)
                    if line:
                        return line
                await self.close()
            if self._process is None:
                self._process = await self._start()
            line = await self._send(self._process, message)
            if not line:
                raise OSError(await self._last_words(self._process))
        except BaseException:
            await self.close()  # what it was doing is unknown; its lock ends with it
            raise
        return line

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=LINE,
            cwd="/",
            env=dict(ENVIRONMENT),
            start_new_session=True,
        )

    async def _send(self, process: asyncio.subprocess.Process, message: bytes) -> bytes:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        process.stdin.write(message)
        await process.stdin.drain()
        return await process.stdout.readline()

    async def _last_words(self, process: asyncio.subprocess.Process) -> str:
        """Return what a process that ended wrote to standard error."""
        assert process.stderr is not None, "it is a pipe"
        text = (await process.stderr.read(LINE)).decode(errors="replace").strip()
        return text[-1000:] or f"it ended with status {await process.wait()}"

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.stdin is not None, "it is a pipe"
        process.stdin.close()
        # The exit may be reported before the pipes' end of file: they are read to it, else their
        # transports stay open.
        await process.communicate()


class LegacyTables:
    """Changes the tables of legacy iptables: read, plan and commit under /run/xtables.lock."""

    def __init__(self, start: Callable[[], XtablesProcess] = XtablesProcess) -> None:
        # One process for each family: an extension registers with libxtables once, for the family
        # that loads it first, and python-iptables does not find it for the other.
        self.processes = {family: start() for family in Family}

    @contextlib.asynccontextmanager
    async def open(self, family: Family) -> AsyncIterator[LegacySession]:
        """Begin a change; the lock is held from the first reading to the end.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT.
        """
        process = self.processes[family]
        try:
            yield LegacySession(process, family)
        finally:
            if process.pid:
                with contextlib.suppress(VirError):
                    await process.ask(ReleaseLock())

    async def close(self) -> None:
        """End the processes."""
        for process in self.processes.values():
            await process.close()


class LegacySession:
    """One change of the tables of a family."""

    def __init__(self, process: XtablesProcess, family: Family) -> None:
        self._process = process
        self._family = family

    async def read(self, tables: Sequence[str]) -> dict[str, IptablesTable]:
        """Read our chains, and those that jump to them.

        Args:
            tables: read, too, where no program has used them yet.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: another program holds the lock.
        """
        reply = await self._ask(ReadTables(self._family, [*tables], READ_CHAINS))
        assert isinstance(reply, TablesRead), "the reply to a reading"
        return reply.tables

    async def commit(self, changes: Sequence[TableChange]) -> None:
        """Change tables, each in one commit.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: the tables before may have changed.
        """
        for change in changes:
            await self._ask(CommitTable(self._family, change.table, [*change.commands]))

    async def _ask(self, request: Request) -> Reply:
        reply = await self._process.ask(request)
        if not isinstance(reply, Refused):
            return reply
        if reply.locked:
            detail = f"another program holds {LOCK}"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.FIREWALL)
        detail = f"libiptc refuses a change of IPv{self._family.value}: {reply.detail}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.FIREWALL)
