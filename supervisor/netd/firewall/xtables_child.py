"""The process that drives libiptc through python-iptables.

Owns: /run/xtables.lock while a change is made; structured rules, one commit a table.
May touch: the kernel's ip_tables and ip6_tables, on the host where `iptables` is the legacy one.

libiptc blocks, is not thread safe, and may end its process at an option it does not know: netd runs
this module as a program and speaks `xtables_messages` with it. It ends when netd does, or when it
has had nothing to do for `IDLE_S`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from supervisor.netd.firewall.iptables_save import IptablesTable, TableCommand, parse_rule
from supervisor.netd.firewall.iptc_rules import from_iptc, to_iptc
from supervisor.netd.firewall.rules import Family
from supervisor.netd.firewall.xtables_messages import (
    CommitTable,
    Done,
    ReadTables,
    Refused,
    Reply,
    Request,
    TablesRead,
)

LOCK: Final = "/run/xtables.lock"
LOCK_S: Final = 5.0  # as long as iptables-restore --wait 5
LOCK_AGAIN_S: Final = 0.02
IDLE_S: Final = 60.0
CHECK: Final = "--check"  # only translate the specimens; the exit status says whether it works
#: Rules like netd's, with options that are not the first of their extension.
SPECIMENS: Final = (
    ("-p", "udp", "-m", "udp", "--dport", "53", "-j", "ACCEPT"),
    ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"),
)
USED: Final = {
    Family.V4: Path("/proc/net/ip_tables_names"),
    Family.V6: Path("/proc/net/ip6_tables_names"),
}


class LockedError(Exception):
    """Another program holds /run/xtables.lock."""


class XtablesLock:
    """The lock that all programs of legacy iptables take: without it two writers lose rules.

    libiptc reads a whole table and writes it back; the kernel does not see that it has changed in
    between.
    """

    def __init__(self, path: str = LOCK) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, timeout_s: float = LOCK_S) -> None:
        """Take the lock.

        Raises:
            LockedError: another program holds it for longer.
            OSError: it cannot be opened.
        """
        if self._fd is not None:
            return
        fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(fd)
                    raise LockedError(self._path) from None
                time.sleep(LOCK_AGAIN_S)
            else:
                self._fd = fd
                return

    def release(self) -> None:
        """Release the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Libiptc:
    """The kernel's tables."""

    def __init__(self, iptc: Any) -> None:  # noqa: ANN401
        self._iptc = iptc

    def read(self, request: ReadTables) -> dict[str, IptablesTable]:
        """Read tables; one that the kernel does not have is left out."""
        names = {*request.tables, *_used(request.family)} & {"filter", "nat", "mangle"}
        tables = {}
        for name in sorted(names):
            with contextlib.suppress(self._iptc.IPTCError):
                tables[name] = self._read(request.family, name, request.chains)
        return tables

    def _read(self, family: Family, name: str, chains: Sequence[str]) -> IptablesTable:
        table = self._open(family, name)
        read = IptablesTable()
        for chain in table.chains:
            if not table.builtin_chain(chain):
                read.chains.add(chain.name)
            if chain.name in chains:
                read.rules[chain.name] = [self._args(family, rule) for rule in chain.rules]
        return read

    def _args(self, family: Family, rule: Any) -> list[str]:  # noqa: ANN401
        try:
            return from_iptc(self._iptc, family, rule)
        except (self._iptc.IPTCError, self._iptc.XTablesError, ValueError, KeyError, TypeError):
            return ["-m", "unknown"]  # a foreign rule with an extension that is not installed

    def commit(self, request: CommitTable) -> None:
        """Change a table in one commit.

        Raises:
            IPTCError, XTablesError, ValueError: nothing has changed.
        """
        table = self._open(request.family, request.table)
        for command in request.commands:
            self._run(request.family, table, command)
        table.commit()

    def _run(self, family: Family, table: Any, command: TableCommand) -> None:  # noqa: ANN401
        if command.verb == "-N":
            table.create_chain(command.chain)
            return
        chain = self._chain(table, command.chain)
        if command.verb == "-I":
            chain.insert_rule(to_iptc(self._iptc, family, command.args), command.position - 1)
            return
        parsed = parse_rule(command.args)
        for rule in chain.rules:
            if parse_rule(self._args(family, rule)) == parsed:
                chain.delete_rule(rule)
                return
        raise ValueError(f"chain {command.chain} has no rule '{' '.join(command.args)}'")

    def _open(self, family: Family, name: str) -> Any:  # noqa: ANN401
        """Read a table from the kernel; changes that were not committed are dropped."""
        kind = self._iptc.Table if family is Family.V4 else self._iptc.Table6
        table = kind(name, autocommit=False)
        table.refresh()
        return table

    def _chain(self, table: Any, name: str) -> Any:  # noqa: ANN401
        return self._iptc.Chain(table, name)


def _used(family: Family) -> list[str]:
    """Return the tables that a program has used."""
    try:
        return USED[family].read_text().split()
    except OSError:
        return []


def reply_to(request: Request, tables: Libiptc, lock: XtablesLock) -> Reply:
    """Do what a request says."""
    try:
        if isinstance(request, ReadTables):
            lock.acquire()
            return TablesRead(tables.read(request))
        if isinstance(request, CommitTable):
            tables.commit(request)
        else:
            lock.release()
    except LockedError as error:
        return Refused(f"another program holds {error}", locked=True)
    except Exception as error:  # noqa: BLE001 - python-iptables raises many kinds, and plain ones
        return Refused(f"{error}" or type(error).__name__)
    return Done()


def run(requests: BinaryIO, replies: BinaryIO, tables: Libiptc) -> None:
    """Answer requests until there are no more, or none comes for `IDLE_S`."""
    lock = XtablesLock()
    decoder, encoder = msgspec.json.Decoder(Request), msgspec.json.Encoder()
    while select.select([requests], [], [], IDLE_S)[0]:
        line = requests.readline()
        if not line:
            return
        reply = reply_to(decoder.decode(line), tables, lock)
        replies.write(encoder.encode(reply) + b"\n")
        replies.flush()


def main() -> None:
    """Entry point of the program."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # extensions of iptables print on standard output
    iptc = importlib.import_module("iptc")  # not typed, and installed on few hosts
    importlib.import_module("iptc.easy")
    if sys.argv[1:] == [CHECK]:
        for args in SPECIMENS:
            to_iptc(iptc, Family.V4, args)
        return
    run(sys.stdin.buffer, replies, Libiptc(iptc))


if __name__ == "__main__":
    main()
