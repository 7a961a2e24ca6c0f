"""Selection of the firewall backend: network.conf's firewall_backend, or what the host uses.

Owns: that choice. May touch: rule sets, to read them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conf.errors import ConfError
from conf.settings_syntax import parse
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.firewall.commands import run, run_ok
from supervisor.netd.firewall.firewall import Firewall
from supervisor.netd.firewall.iptables import Iptables, RestoreTables, Tables
from supervisor.netd.firewall.iptables_save import parse_save
from supervisor.netd.firewall.nftables import TABLE, Nftables
from supervisor.netd.firewall.xtables import LegacyTables, python_iptables_works
from supervisor.runtime.subprocesses import SEARCH_PATH

# Tables that iptables-nft and ebtables-nft create: their presence does not mean nftables.
COMPATIBLE: Final = frozenset({"filter", "nat", "mangle", "raw", "security", "broute"})

log = logging.getLogger(__name__)


class Backend(StrEnum):
    """network.conf's firewall_backend."""

    IPTABLES = "iptables"
    NFTABLES = "nftables"


@dataclass(frozen=True, slots=True)
class HostFirewalls:
    """The firewall programs that are installed, and whether they have rules."""

    iptables: bool  # iptables is installed
    nft: bool
    iptables_rules: bool  # there are rules or chains, of any program
    nftables_rules: bool


def configured(text: str, origin: str) -> Backend | None:
    """Read firewall_backend from network.conf; None: it is not set.

    Raises:
        ConfError: bad syntax, or an unknown backend.
    """
    value = parse(text, origin).get("firewall_backend")
    if value is None:
        return None
    try:
        return Backend(str(value[0]))
    except ValueError:
        choices = ", ".join(f'"{backend}"' for backend in Backend)
        where = f"{origin}:{value[1]}"
        detail = f"{where}: firewall_backend = {value[0]!r} is not known; it can be {choices}"
        raise ConfError("conf_syntax", detail, where) from None


def select(setting: Backend | None, host: HostFirewalls) -> Backend:
    """Select a backend. Default: the one with rules on this host, iptables before nftables. Pure.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the configured backend is not installed, or none is.
    """
    installed = {Backend.IPTABLES: host.iptables, Backend.NFTABLES: host.nft}
    if setting is not None and not installed[setting]:
        raise _missing(f"firewall_backend is '{setting}' in network.conf, but it is not installed")
    if setting is not None:
        return setting
    if not any(installed.values()):
        raise _missing("neither iptables nor nft is installed, and networks need one of them")
    only_nft = host.nftables_rules and not host.iptables_rules
    order = (Backend.NFTABLES, Backend.IPTABLES) if only_nft else tuple(Backend)
    return next(backend for backend in order if installed[backend])


async def inspect() -> HostFirewalls:
    """Inspect the host's firewalls; a program that fails counts as having no rules."""
    iptables, nft = (shutil.which(name, path=SEARCH_PATH) for name in ("iptables", "nft"))
    return HostFirewalls(
        iptables=iptables is not None,
        nft=nft is not None,
        iptables_rules=iptables is not None and await _iptables_used(),
        nftables_rules=nft is not None and await _nftables_used(),
    )


async def select_backend(setting: Backend | None) -> Backend:
    """Select the firewall backend of this host.

    Raises:
        VirError: CONFIG_UNSUPPORTED, as `select`.
    """
    backend = select(setting, await inspect())
    log.info("firewall backend: %s", backend)
    return backend


async def select_firewall(setting: Backend | None) -> Firewall:
    """Create the firewall for the selected backend.

    Raises:
        VirError: CONFIG_UNSUPPORTED, as `select`.
    """
    if await select_backend(setting) is Backend.NFTABLES:
        return Firewall(Nftables())
    return Firewall(Iptables(await _iptables_tables()))


async def _iptables_tables() -> Tables:
    """Select the way to the tables of the host's `iptables`.

    Raises:
        VirError: INTERNAL_ERROR, OPERATION_TIMEOUT: it does not run.
    """
    if not is_legacy(await run_ok(["iptables", "--version"])):
        return RestoreTables()
    if not await python_iptables_works():
        return RestoreTables()
    log.info("iptables is the legacy one: python-iptables changes its tables")
    return LegacyTables()


def is_legacy(version: str) -> bool:
    """Return whether `iptables --version` is of the one that uses the kernel's ip_tables.

    "iptables v1.8.9 (legacy)"; before 1.8 there was no other, and nothing in parentheses.
    """
    return "nf_tables" not in version


async def _iptables_used() -> bool:
    try:
        ended = await run(["iptables-save"])
    except VirError as error:
        log.warning("the host's iptables rules cannot be read: %s", error)
        return False
    tables = await asyncio.to_thread(parse_save, ended.output)
    return any(table.rules for table in tables.values())


async def _nftables_used() -> bool:
    try:
        ended = await run(["nft", "-j", "list", "tables"])
        entries = json.loads(ended.output)["nftables"] if ended.code == 0 else []
    except (VirError, ValueError, KeyError) as error:
        log.warning("the host's nftables rules cannot be read: %s", error)
        return False
    tables = [entry["table"]["name"] for entry in entries if "table" in entry]
    return any(name not in COMPATIBLE or name == TABLE for name in tables)


def _missing(detail: str) -> VirError:
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.FIREWALL)
