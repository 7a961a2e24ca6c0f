"""virNetworkUpdate on a definition. Pure.

Owns: which sections can be updated, where their entries are, and the refusals of the rest.
Source: libvirt 9.0 virNetworkUpdate, measured.
"""

from __future__ import annotations

import copy
from enum import IntEnum
from ipaddress import ip_address
from typing import Final, TypeVar

from conf.errors import ConfError
from conf.mapper import read
from conf.mapper.safe_parse import parse_tree
from conf.network.addressing import Dhcp, DhcpHost, DhcpRange, Ip
from conf.network.dns import Dns, DnsHost, Srv, Txt
from conf.network.forward import ForwardInterface
from conf.network.model import Network, PortGroup
from conf.network.update_rules import (
    GROUPS,
    HOSTS,
    INTERFACES,
    RANGES,
    RECORDS,
    SRVS,
    TXTS,
    Command,
    edit,
    invalid,
)
from conf.network.validate.addressing import check_host, check_range, gives
from conf.network.validate.dns import check_names, check_srv, check_txt
from conf.network.validate.errors import xml_error
from conf.network.validate.network import validate

M = TypeVar("M")


class Section(IntEnum):
    """virNetworkUpdateSection."""

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


#: Sections whose entries cannot be modified, only deleted and added.
NOT_MODIFIED: Final = {
    Section.IP_DHCP_RANGE: "dhcp ranges",
    Section.FORWARD_INTERFACE: "forward interface entries",
    Section.DNS_HOST: "DNS HOST records",
    Section.DNS_TXT: "DNS TXT records",
    Section.DNS_SRV: "DNS SRV records",
}


def update_network(
    network: Network, command: int, section: int, parent_index: int, xml: str
) -> Network:
    """Return a copy with one entry of a section added, changed or deleted.

    Args:
        network: as it is; it stays so.
        command: virNetworkUpdateCommand.
        section: virNetworkUpdateSection.
        parent_index: of the <ip>; -1: the first with DHCP.
        xml: the entry; for a deletion, enough attributes to select it.

    Raises:
        ConfError: "operation_invalid" for an entry that is or is not there, "xml", "xml_detail",
            "operation_unsupported": the section cannot be updated; those of `validate`.
    """
    parse_tree(xml)  # before the section: what is no XML is refused as that
    requested, where = _asked(network, command, section)
    changed = copy.deepcopy(network)
    match where:
        case Section.IP_DHCP_HOST:
            _change_hosts(changed, requested, parent_index, xml)
        case Section.IP_DHCP_RANGE:
            _change_ranges(changed, requested, parent_index, xml)
        case Section.FORWARD_INTERFACE:
            _change_interfaces(changed, requested, xml)
        case Section.PORTGROUP:
            _change_groups(changed, requested, xml)
        case _:
            _change_names(changed, requested, where, xml)
    for ip in changed.ips:
        ip.after_read()
    changed.after_read()
    validate(changed)
    return changed


def _asked(network: Network, command: int, section: int) -> tuple[Command, Section]:
    """Check command and section.

    Raises:
        ConfError: "operation_unsupported".
    """
    try:
        where = Section(section)
    except ValueError:
        raise unsupported(f"can't update unrecognized section {section} of network") from None
    try:
        requested = Command(command)
    except ValueError:
        raise unsupported(f"unrecognized network update command code {command}") from None
    if where not in (Section.IP_DHCP_HOST, Section.PORTGROUP, *NOT_MODIFIED):
        section_name = where.name.lower().replace("_", "-")
        raise unsupported(f"can't update '{section_name}' section of network '{network.name}'")
    if requested is Command.MODIFY and where in NOT_MODIFIED:
        raise unsupported(f"{NOT_MODIFIED[where]} cannot be modified, only added or deleted")
    return requested, where


def unsupported(detail: str) -> ConfError:
    """OPERATION_UNSUPPORTED."""
    return ConfError("operation_unsupported", detail)


def _change_hosts(network: Network, command: Command, index: int, xml: str) -> None:
    ip = _ip(network, index)
    host = _entry(network, DhcpHost, xml)
    check_host(network.name, ip, host, partial=command is Command.DELETE)
    _refuse_second_dhcp(network, ip, command)
    edit(network.name, _dhcp(ip).hosts, HOSTS, command, host)


def _change_ranges(network: Network, command: Command, index: int, xml: str) -> None:
    ip = _ip(network, index)
    dhcp_range = _entry(network, DhcpRange, xml)
    check_range(ip, ip_address(dhcp_range.start), ip_address(dhcp_range.end), ip.network)
    _refuse_second_dhcp(network, ip, command)
    edit(network.name, _dhcp(ip).ranges, RANGES, command, dhcp_range)


def _refuse_second_dhcp(network: Network, ip: Ip, command: Command) -> None:
    """Refuse DHCP on a second subnet of the family.

    Raises:
        ConfError: "operation_invalid".
    """
    others = (other for other in network.ips if other is not ip and other.version == ip.version)
    if command in (Command.ADD_FIRST, Command.ADD_LAST) and any(gives(o.dhcp) for o in others):
        detail = f"dhcp is supported only for a single IPv{ip.version} address on each network"
        raise invalid(f"{detail}: '{network.name}' gives others already")


def _change_interfaces(network: Network, command: Command, xml: str) -> None:
    interface = _entry(network, ForwardInterface, xml)
    if not interface.dev:
        raise xml_error(
            f"missing dev attribute in <interface> element for network '{network.name}'"
        )
    forward = network.forward
    if command is not Command.DELETE and (forward is None or forward.functions):
        why = "has no <forward>" if forward is None else "takes its devices of <pf>"
        raise invalid(f"network '{network.name}' {why}: it can have no <interface> of its own")
    interfaces = forward.interfaces if forward is not None else []
    edit(network.name, interfaces, INTERFACES, command, interface)
    if forward is not None:
        forward.dev = interfaces[0].dev if interfaces else None


def _change_groups(network: Network, command: Command, xml: str) -> None:
    group = _entry(network, PortGroup, xml)
    if not group.name:
        raise xml_error(f"Missing required name attribute in portgroup of network '{network.name}'")
    others = (other for other in network.portgroups if other.name != group.name)
    edit(network.name, network.portgroups, GROUPS, command, group)
    if command is not Command.DELETE and group.default and any(other.default for other in others):
        detail = f"a different portgroup entry in network '{network.name}' is already set as the"
        raise invalid(f"{detail} default. Only one default is allowed.")


def _change_names(network: Network, command: Command, section: Section, xml: str) -> None:
    dns = network.dns = network.dns or Dns()
    partial = command is Command.DELETE
    if section is Section.DNS_HOST:
        host = _entry(network, DnsHost, xml)
        check_names(network.name, host, partial=partial)
        edit(network.name, dns.hosts, RECORDS, command, host)
    elif section is Section.DNS_TXT:
        txt = _entry(network, Txt, xml)
        check_txt(network.name, txt, partial=partial)
        edit(network.name, dns.txts, TXTS, command, txt)
    else:
        srv = _entry(network, Srv, xml)
        check_srv(network.name, srv, partial=partial)
        edit(network.name, dns.srvs, SRVS, command, srv)


def _entry(network: Network, model: type[M], xml: str) -> M:
    """Parse an entry.

    Raises:
        ConfError: "xml_detail": malformed XML; "xml": another element, or invalid.
    """
    root = parse_tree(xml)
    tag = str(model.__element__)  # type: ignore[attr-defined]
    if root.tag != tag:
        detail = f"unexpected element <{root.tag}>, expecting <{tag}>, while updating network"
        raise xml_error(f"{detail} '{network.name}'")
    return read(model, root)


def _ip(network: Network, index: int) -> Ip:
    """Find the <ip> by index, or the first with DHCP.

    Raises:
        ConfError: "operation_invalid": the network has no such <ip>.
    """
    if index >= 0:
        if index < len(network.ips):
            return network.ips[index]
        detail = f"couldn't update dhcp host entry - no <ip> element found at index {index}"
        raise invalid(f"{detail} in network '{network.name}'")
    serving = [ip for ip in network.ips if gives(ip.dhcp)]
    candidates = serving or sorted(network.ips, key=lambda ip: ip.version)
    if not candidates:
        detail = "couldn't update dhcp host entry - no <ip> element found"
        raise invalid(f"{detail} in network '{network.name}'")
    return candidates[0]


def _dhcp(ip: Ip) -> Dhcp:
    ip.dhcp = ip.dhcp or Dhcp()
    return ip.dhcp
