"""A network with one section changed, as `virsh net-update` asks for it. Pure.

Owns: what can be added, changed and removed, and the refusals of the rest.
Source: libvirt 9.0 virNetworkUpdate; which entries are "the same" is said at each section.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from conf.errors import ConfError
from conf.mapper import parse
from conf.network.addressing import Dhcp, DhcpHost, DhcpRange, Ip
from conf.network.dns import Dns, DnsHost, Srv, Txt
from conf.network.forward import Forward, ForwardInterface
from conf.network.model import Network, PortGroup
from conf.network.refusals.addressing import check_host
from conf.network.validate import validate

E = TypeVar("E")


class Command(IntEnum):
    """What is to be done (virNetworkUpdateCommand)."""

    MODIFY = 1
    DELETE = 2
    ADD_LAST = 3
    ADD_FIRST = 4


class Section(IntEnum):
    """Where (virNetworkUpdateSection)."""

    BRIDGE = 1
    DOMAIN = 2
    IP = 3
    IP_DHCP_HOST = 4
    IP_DHCP_RANGE = 5
    FORWARD = 6
    FORWARD_INTERFACE = 7
    FORWARD_PF = 8
    PORTGROUP = 9
    DNS_HOST = 10
    DNS_TXT = 11
    DNS_SRV = 12


WORDS: Final = {
    Section.BRIDGE: "bridge",
    Section.DOMAIN: "domain",
    Section.IP: "ip",
    Section.FORWARD: "forward",
    Section.FORWARD_PF: "forward-pf",
}


@dataclass(frozen=True, slots=True)
class Entries(Generic[E]):
    """How one section's entries are handled."""

    what: str  # as refusals name an entry
    clashes: Callable[[E, E], bool]  # an entry that is there keeps a new one from being added
    matches: Callable[[E, E], bool]  # an entry that is there is the one to be removed
    replaces: Callable[[E, E], bool] | None = None  # … to be changed; None: only added or removed


def update_network(
    network: Network, command: int, section: int, parent_index: int, xml: str
) -> Network:
    """A copy of a network with one entry of a section added, changed or removed.

    Args:
        network: as it is; it stays so.
        command: virNetworkUpdateCommand.
        section: virNetworkUpdateSection.
        parent_index: which <ip>; -1: the one that DHCP is for.
        xml: the entry; to remove one, as much of it as tells which.

    Raises:
        ConfError: "operation_invalid" for an entry that is or is not there, "xml", "no_support",
            "operation_unsupported" for sections that cannot be updated.
    """
    try:
        doing = Command(command)
    except ValueError:
        detail = f"unrecognized network update command code {command}"
        raise ConfError("no_support", detail) from None
    changed = copy.deepcopy(network)
    try:
        _change(changed, doing, Section(section), parent_index, xml)
    except ValueError:
        raise ConfError("no_support", "can't update unrecognized section of network") from None
    validate(changed)
    return changed


def _change(
    network: Network, command: Command, section: Section, parent_index: int, xml: str
) -> None:
    match section:
        case Section.IP_DHCP_HOST:
            _change_hosts(network, command, parent_index, xml)
        case Section.IP_DHCP_RANGE:
            dhcp = _dhcp(_ip(network, parent_index, "dhcp range"))
            edit(network, dhcp.ranges, RANGES, command, _entry(network, DhcpRange, xml, "range"))
        case Section.FORWARD_INTERFACE:
            network.forward = network.forward or Forward()
            given = _entry(network, ForwardInterface, xml, "interface")
            edit(network, network.forward.interfaces, INTERFACES, command, given)
            first = network.forward.interfaces[0].dev if network.forward.interfaces else None
            network.forward.dev = first
        case Section.PORTGROUP:
            group = _entry(network, PortGroup, xml, "portgroup")
            _check_default(network, command, group)
            edit(network, network.portgroups, GROUPS, command, group)
        case Section.DNS_HOST | Section.DNS_TXT | Section.DNS_SRV:
            _change_names(network, command, section, xml)
        case _:
            detail = f"can't update '{WORDS[section]}' section of network '{network.name}'"
            raise ConfError("operation_unsupported", detail)


def _change_hosts(network: Network, command: Command, parent_index: int, xml: str) -> None:
    ip = _ip(network, parent_index, "dhcp host")
    given = _entry(network, DhcpHost, xml, "host")
    if command is not Command.DELETE:
        check_host(network.name, ip, given)
    edit(network, _dhcp(ip).hosts, HOSTS, command, given)


def _change_names(network: Network, command: Command, section: Section, xml: str) -> None:
    dns = network.dns = network.dns or Dns()
    if section is Section.DNS_HOST:
        host = _entry(network, DnsHost, xml, "host", partial=command is Command.DELETE)
        if command is not Command.DELETE and not (host.ip and host.hostnames):
            detail = "DNS HOST records need an ip attribute and a hostname element"
            raise ConfError("xml_detail", f"{detail} in network {network.name}")
        edit(network, dns.hosts, NAMES, command, host)
    elif section is Section.DNS_TXT:
        edit(network, dns.txts, TXTS, command, _entry(network, Txt, xml, "txt"))
    else:
        edit(network, dns.srvs, SRVS, command, _entry(network, Srv, xml, "srv"))


def edit(network: Network, entries: list[E], kind: Entries[E], command: Command, given: E) -> None:
    """Add, change or remove an entry of a list, in place.

    Raises:
        ConfError: "operation_invalid".
    """
    if command is Command.MODIFY:
        if kind.replaces is None:
            raise refused(f"{kind.what} entries cannot be modified, only added or deleted")
        place = next((n for n, each in enumerate(entries) if kind.replaces(each, given)), None)
        if place is None:
            raise refused(
                f"couldn't locate an existing {kind.what} entry in network '{network.name}'"
            )
        entries[place] = given
    elif command is Command.DELETE:
        found = [n for n, each in enumerate(entries) if kind.matches(each, given)]
        if not found:
            raise refused(
                f"couldn't locate a matching {kind.what} entry in network '{network.name}'"
            )
        if len(found) > 1:
            raise refused(
                f"multiple matching {kind.what} entries were found in network '{network.name}'"
            )
        del entries[found[0]]
    else:
        if any(kind.clashes(each, given) for each in entries):
            raise refused(
                f"there is an existing {kind.what} entry in network '{network.name}' that matches"
            )
        entries.insert(0 if command is Command.ADD_FIRST else len(entries), given)


def _entry(network: Network, model: type[E], xml: str, tag: str, *, partial: bool = False) -> E:
    """Read an entry.

    Raises:
        ConfError: it is none, or another element.
    """
    try:
        return parse(model, xml)
    except ConfError as problem:
        if f"<{tag}" in xml:
            raise
        detail = f"unexpected element, expecting <{tag}>, while updating network '{network.name}'"
        raise ConfError("xml", f"{detail}: {problem.message}") from problem


def _ip(network: Network, index: int, what: str) -> Ip:
    """The <ip> that is meant.

    Raises:
        ConfError: "operation_invalid": there is none.
    """
    if index >= 0:
        if index < len(network.ips):
            return network.ips[index]
        detail = f"couldn't update {what} entry - no <ip> element found at index {index}"
        raise refused(f"{detail} in network '{network.name}'")
    with_dhcp = [ip for ip in network.ips if ip.dhcp and (ip.dhcp.ranges or ip.dhcp.hosts)]
    chosen = sorted(with_dhcp, key=lambda ip: ip.version) or network.ips
    if not chosen:
        detail = f"couldn't update {what} entry - no <ip> element found"
        raise refused(f"{detail} in network '{network.name}'")
    return chosen[0]


def _dhcp(ip: Ip) -> Dhcp:
    ip.dhcp = ip.dhcp or Dhcp()
    return ip.dhcp


def _check_default(network: Network, command: Command, group: PortGroup) -> None:
    """Refuse a second default group.

    Raises:
        ConfError: "operation_invalid".
    """
    if command is Command.DELETE or not group.default:
        return
    if any(each.default and each.name != group.name for each in network.portgroups):
        detail = f"a different portgroup entry in network '{network.name}' is already set as the "
        raise refused(f"{detail}default. Only one default is allowed.")


def refused(detail: str) -> ConfError:
    """OPERATION_INVALID."""
    return ConfError("operation_invalid", detail)


def _same(one: str | None, other: str | None) -> bool:
    """Whether both say the same, whatever the case of their letters."""
    return one is not None and other is not None and one.lower() == other.lower()


def _said(there: object, given: object) -> bool:
    """Whether what is given, if anything, is what is there."""
    return given is None or there == given


def _host_clashes(there: DhcpHost, new: DhcpHost) -> bool:
    return _same(there.mac, new.mac) or _same(there.name, new.name) or _same(there.ip, new.ip)


def _host_matches(there: DhcpHost, given: DhcpHost) -> bool:
    pairs = ((there.mac, given.mac), (there.name, given.name), (there.ip, given.ip))
    return any(wanted for _, wanted in pairs) and all(
        wanted is None or _same(found, wanted) for found, wanted in pairs
    )


def _host_replaces(there: DhcpHost, new: DhcpHost) -> bool:
    return (
        _same(there.mac, new.mac)
        or _same(there.id, new.id)
        or (not new.mac and _same(there.name, new.name))
    )


def _range_is(there: DhcpRange, given: DhcpRange) -> bool:
    return (there.start, there.end) == (given.start, given.end)


def _name_is(there: DnsHost, given: DnsHost) -> bool:
    return there.ip == given.ip or bool(set(there.hostnames) & set(given.hostnames))


def _srv_is(there: Srv, given: Srv) -> bool:
    return (
        (there.service, there.protocol) == (given.service, given.protocol)
        and _said(there.domain, given.domain)
        and _said(there.target, given.target)
    )


HOSTS: Final[Entries[DhcpHost]] = Entries("dhcp host", _host_clashes, _host_matches, _host_replaces)
RANGES: Final[Entries[DhcpRange]] = Entries("dhcp range", _range_is, _range_is)
INTERFACES: Final[Entries[ForwardInterface]] = Entries(
    "forward interface", lambda one, two: one.dev == two.dev, lambda one, two: one.dev == two.dev
)
GROUPS: Final[Entries[PortGroup]] = Entries(
    "portgroup",
    lambda one, two: one.name == two.name,
    lambda one, two: one.name == two.name,
    lambda one, two: one.name == two.name,
)
NAMES: Final[Entries[DnsHost]] = Entries("DNS HOST", _name_is, _name_is)
TXTS: Final[Entries[Txt]] = Entries(
    "DNS TXT", lambda one, two: one.name == two.name, lambda one, two: one.name == two.name
)
SRVS: Final[Entries[Srv]] = Entries("DNS SRV", _srv_is, _srv_is)
