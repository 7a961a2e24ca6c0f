"""The messages between netd and the process that drives libiptc, one JSON object a line.

Owns: their form. Pure.
"""

from __future__ import annotations

import msgspec

from supervisor.netd.firewall.iptables_save import IptablesTable, TableCommand
from supervisor.netd.firewall.rules import Family


class ReadTables(msgspec.Struct, frozen=True, tag="read"):
    """Take /run/xtables.lock and read chains. Reply: `TablesRead`."""

    family: Family
    tables: list[str]  # read even where no program has used them yet
    chains: list[str]  # whose rules are read


class CommitTable(msgspec.Struct, frozen=True, tag="commit"):
    """Change one table in one commit. Reply: `Done`."""

    family: Family
    table: str
    commands: list[TableCommand]


class ReleaseLock(msgspec.Struct, frozen=True, tag="release"):
    """Release /run/xtables.lock. Reply: `Done`."""


class TablesRead(msgspec.Struct, frozen=True, tag="tables"):
    """The tables that the kernel has."""

    tables: dict[str, IptablesTable]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is done."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It is not done."""

    detail: str
    locked: bool = False  # another program held the lock too long


Request = ReadTables | CommitTable | ReleaseLock
Reply = TablesRead | Done | Refused
