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
Same = Callable[[E, E], bool]  # an entry that is there, and the given one


class Command(IntEnum):
    """virNetworkUpdateCommand."""

    MODIFY = 1
    DELETE = 2
    ADD_LAST = 3
    ADD_FIRST = 4


@dataclass(frozen=True, slots=True)
class UpdateRules(Generic[E]):
    """The rules of one section."""

    what: str  # as refusals name an entry
    clashes: Same[E]  # an entry that is there keeps a new one from being added
    matches: Same[E]  # an entry that is there is the one to be removed
    replaces: Same[E] | None = None  # … to be changed; None: only added or removed


def edit(network: str, entries: list[E], rules: UpdateRules[E], command: Command, entry: E) -> None:
    """Add, change or delete an entry of a list, in place.

    Raises:
        ConfError: "operation_invalid" for an entry that is or is not there,
            "operation_unsupported" for one that cannot be changed.
    """
    if command is Command.MODIFY:
        entries[_place(network, entries, rules, entry)] = entry
    elif command is Command.DELETE:
        found = [n for n, each in enumerate(entries) if rules.matches(each, entry)]
        if not found:
            raise invalid(f"couldn't locate a matching {rules.what} in network '{network}'")
        if len(found) > 1:
            detail = f"multiple matching {rules.what} were found in network '{network}'"
            raise invalid(f"{detail}; say more of the one that is meant")
        del entries[found[0]]
    elif any(rules.clashes(each, entry) for each in entries):
        raise invalid(f"there is an existing {rules.what} in network '{network}' that matches")
    else:
        entries.insert(0 if command is Command.ADD_FIRST else len(entries), entry)


def _place(network: str, entries: list[E], rules: UpdateRules[E], entry: E) -> int:
    """Find the entry to change."""
    if rules.replaces is None:
        detail = f"{rules.what} cannot be modified in network '{network}', only added or deleted"
        raise ConfError("operation_unsupported", detail)
    for number, each in enumerate(entries):
        if rules.replaces(each, entry):
            return number
    raise invalid(f"couldn't locate an existing {rules.what} in network '{network}'")


def invalid(detail: str) -> ConfError:
    """OPERATION_INVALID."""
    return ConfError("operation_invalid", detail)


def _is(there: str | None, given: str | None) -> bool:
    """Return whether both are set and equal."""
    return bool(given) and there == given


def _same_mac(there: str | None, given: str | None) -> bool:
    return there is not None and given is not None and _octets(there) == _octets(given)


def _octets(mac: str) -> list[int]:
    return [int(part, 16) for part in mac.split(":")]


def _is_host(there: DhcpHost, given: DhcpHost) -> bool:
    """Return whether a reservation has the same MAC address, name or IP address."""
    same_mac = _same_mac(there.mac, given.mac)
    return same_mac or _is(there.name, given.name) or _is(there.ip, given.ip)


def _is_all_of_host(there: DhcpHost, given: DhcpHost) -> bool:
    """Return whether a reservation matches every given attribute."""
    pairs = ((there.name, given.name), (there.ip, given.ip), (there.id, given.id))
    differs = any(one and other and one != other for one, other in pairs)
    if there.mac and given.mac and not _same_mac(there.mac, given.mac):
        return False
    return not differs and (_is_host(there, given) or _is(there.id, given.id))


def _is_range(there: DhcpRange, given: DhcpRange) -> bool:
    return (there.start, there.end) == (given.start, given.end)


def _is_record(there: DnsHost, given: DnsHost) -> bool:
    return _is(there.ip, given.ip) or bool(set(there.hostnames) & set(given.hostnames))


def _is_srv(there: Srv, given: Srv) -> bool:
    """Return whether a record matches the given attributes; port and weight are not compared."""
    return all(
        not wanted or found == wanted
        for found, wanted in (
            (there.service, given.service),
            (there.protocol, given.protocol),
            (there.domain, given.domain),
            (there.target, given.target),
        )
    )


def _is_device(there: ForwardInterface, given: ForwardInterface) -> bool:
    return there.dev == given.dev


def _is_group(there: PortGroup, given: PortGroup) -> bool:
    return there.name == given.name


def _is_txt(there: Txt, given: Txt) -> bool:
    return there.name == given.name


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
