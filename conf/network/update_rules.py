"""Rules of virNetworkUpdate for each section: which entry is changed or deleted. Pure.

Owns: those comparisons, and the edit of one list. Pure.
Source: libvirt 9.0 virNetworkUpdate, measured: each section compares in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from conf.errors import ConfError
from conf.network.addressing import DhcpHost, DhcpRange
from conf.network.dns import DnsHost, Srv, Txt
from conf.network.forward import ForwardInterface
from conf.network.model import PortGroup

E = TypeVar("E")
Same = Callable[[E, E], bool]  # a present entry, and the client's


class Command(IntEnum):
    """virNetworkUpdateCommand."""

    MODIFY = 1
    DELETE = 2
    ADD_LAST = 3
    ADD_FIRST = 4


@dataclass(frozen=True, slots=True)
class UpdateRules(Generic[E]):
    """The rules of one section."""

    label: str  # of an entry in error messages
    clashes: Same[E]  # the existing entry conflicts with the new one
    matches: Same[E]  # the existing entry is selected for deletion
    replaces: Same[E] | None = None  # … for modification; None: it cannot be modified


def edit(network: str, entries: list[E], rules: UpdateRules[E], command: Command, entry: E) -> None:
    """Add, change or delete an entry of a list, in place.

    Raises:
        ConfError: "operation_invalid" for an entry that is or is not there,
            "operation_unsupported" for one that cannot be changed.
    """
    if command is Command.MODIFY:
        entries[_place(network, entries, rules, entry)] = entry
    elif command is Command.DELETE:
        positions = [n for n, existing in enumerate(entries) if rules.matches(existing, entry)]
        if not positions:
            raise invalid(f"couldn't locate a matching {rules.label} in network '{network}'")
        if len(positions) > 1:
            detail = f"multiple matching {rules.label} were found in network '{network}'"
            raise invalid(f"{detail}; give more attributes to select one")
        del entries[positions[0]]
    elif any(rules.clashes(existing, entry) for existing in entries):
        raise invalid(f"there is an existing {rules.label} in network '{network}' that matches")
    else:
        entries.insert(0 if command is Command.ADD_FIRST else len(entries), entry)


def _place(network: str, entries: list[E], rules: UpdateRules[E], entry: E) -> int:
    """Find the entry to change."""
    if rules.replaces is None:
        detail = f"{rules.label} cannot be modified in network '{network}', only added or deleted"
        raise ConfError("operation_unsupported", detail)
    for number, existing in enumerate(entries):
        if rules.replaces(existing, entry):
            return number
    raise invalid(f"couldn't locate an existing {rules.label} in network '{network}'")


def invalid(detail: str) -> ConfError:
    """OPERATION_INVALID."""
    return ConfError("operation_invalid", detail)


def _is(existing: str | None, entry: str | None) -> bool:
    """Return whether both are set and equal."""
    return bool(entry) and existing == entry


def _same_mac(existing: str | None, entry: str | None) -> bool:
    return existing is not None and entry is not None and _octets(existing) == _octets(entry)


def _octets(mac: str) -> list[int]:
    return [int(part, 16) for part in mac.split(":")]


def _is_host(existing: DhcpHost, entry: DhcpHost) -> bool:
    """Return whether a reservation has the same MAC address, name or IP address."""
    same_mac = _same_mac(existing.mac, entry.mac)
    return same_mac or _is(existing.name, entry.name) or _is(existing.ip, entry.ip)


def _is_all_of_host(existing: DhcpHost, entry: DhcpHost) -> bool:
    """Return whether a reservation matches every attribute of the client's XML."""
    pairs = ((existing.name, entry.name), (existing.ip, entry.ip), (existing.id, entry.id))
    differs = any(first and other and first != other for first, other in pairs)
    if existing.mac and entry.mac and not _same_mac(existing.mac, entry.mac):
        return False
    return not differs and (_is_host(existing, entry) or _is(existing.id, entry.id))


def _is_range(existing: DhcpRange, entry: DhcpRange) -> bool:
    return (existing.start, existing.end) == (entry.start, entry.end)


def _is_record(existing: DnsHost, entry: DnsHost) -> bool:
    return _is(existing.ip, entry.ip) or bool(set(existing.hostnames) & set(entry.hostnames))


def _is_srv(existing: Srv, entry: Srv) -> bool:
    """Return whether a record matches the client's attributes; port and weight are not compared."""
    return all(
        not selector or value == selector
        for value, selector in (
            (existing.service, entry.service),
            (existing.protocol, entry.protocol),
            (existing.domain, entry.domain),
            (existing.target, entry.target),
        )
    )


def _is_device(existing: ForwardInterface, entry: ForwardInterface) -> bool:
    return existing.dev == entry.dev


def _is_group(existing: PortGroup, entry: PortGroup) -> bool:
    return existing.name == entry.name


def _is_txt(existing: Txt, entry: Txt) -> bool:
    return existing.name == entry.name


HOSTS: Final[UpdateRules[DhcpHost]] = UpdateRules(
    "dhcp host entry", _is_host, _is_all_of_host, _is_host
)
RANGES: Final[UpdateRules[DhcpRange]] = UpdateRules("dhcp range entry", _is_range, _is_range)
INTERFACES: Final[UpdateRules[ForwardInterface]] = UpdateRules(
    "forward interface entry", _is_device, _is_device
)
GROUPS: Final[UpdateRules[PortGroup]] = UpdateRules(
    "portgroup entry", _is_group, _is_group, _is_group
)
RECORDS: Final[UpdateRules[DnsHost]] = UpdateRules(
    "DNS HOST record", lambda a, b: _is(a.ip, b.ip), _is_record
)
TXTS: Final[UpdateRules[Txt]] = UpdateRules("DNS TXT record", _is_txt, _is_txt)
SRVS: Final[UpdateRules[Srv]] = UpdateRules("DNS SRV record", _is_srv, _is_srv)
