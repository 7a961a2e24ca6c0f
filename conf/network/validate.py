"""What a network's document must not say. Pure.

Owns: those refusals, in libvirt's codes. May not touch: the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from ipaddress import IPv4Network, ip_address

from conf.domain.devices.interface import VirtualPort, mac_address
from conf.errors import ConfError
from conf.network.addressing import DhcpHost, Ip
from conf.network.document import OWN_BRIDGE, mode_of
from conf.network.forward import ForwardMode
from conf.network.model import Network
from conf.network.words import Address, Subnet


def validate(network: Network) -> None:
    """Refuse a document that cannot be a network.

    Raises:
        ConfError: "xml", "config_unsupported" as libvirt.
    """
    _check_name(network.name)
    _check_texts(network)
    mode = mode_of(network)
    if mode not in OWN_BRIDGE and network.ips:
        raise refused(f"unsupported <ip> element in network {network.name} with mode='{mode}'")
    if mode is ForwardMode.OPEN and network.forward is not None and network.forward.dev:
        detail = f"forward dev not allowed for network '{network.name}' with forward mode='open'"
        raise ConfError("xml", detail)
    for ip in network.ips:
        _check_ip(network.name, ip)
    _check_devices(network, mode)
    _check_vlans(network, mode)
    if sum(group.default for group in network.portgroups) > 1:
        detail = f"multiple default <portgroup> elements in network '{network.name}'"
        raise refused(f"{detail}, only one is allowed")


def _check_devices(network: Network, mode: ForwardMode) -> None:
    devices = [each.dev for each in network.forward.interfaces] if network.forward else []
    twice = next((dev for dev in devices if devices.count(dev) > 1), None)
    if twice is not None:
        detail = f"interface '{twice}' can only be listed once in network {network.name}"
        raise ConfError("xml", detail)
    if network.forward and network.forward.addresses and mode is not ForwardMode.HOSTDEV:
        detail = f"network '{network.name}' has forward mode '{mode}' but lists a device by PCI "
        raise refused(f"{detail}address, which is only supported for forward mode 'hostdev'")


def _check_vlans(network: Network, mode: ForwardMode) -> None:
    """Refuse tags where nothing of the host's would put them on."""

    def can_tag(port: VirtualPort | None) -> bool:
        switched = port is not None and port.type == "openvswitch"
        return mode is ForwardMode.HOSTDEV or (mode is ForwardMode.BRIDGE and switched)

    tagged = network.vlan is not None and not can_tag(network.virtualport)
    for group in network.portgroups:
        port = group.virtualport or network.virtualport
        tagged = tagged or (group.vlan is not None and not can_tag(port))
    if tagged:
        detail = f"<vlan> element specified for network {network.name}, whose type doesn't support"
        raise refused(f"{detail} vlan configuration")


def _check_name(name: str) -> None:
    if not name:
        raise ConfError("no_name", "missing network name")
    if "/" in name:
        raise ConfError("xml", f"name {name} cannot contain '/'")
    if name in (".", "..") or len(name.encode()) > 240 or "\n" in name:
        raise ConfError("xml", f"name {name[:40]!r} cannot name a file")


def _check_ip(name: str, ip: Ip) -> None:
    try:
        subnet = ip.network
    except ValueError as problem:
        detail = f"Invalid netmask or prefix in network '{name}': {problem}"
        raise ConfError("xml", detail) from None
    if ip.netmask is not None and ip.prefix is not None:
        detail = f"Network '{name}' IP address cannot have both a prefix and a netmask"
        raise ConfError("xml", detail)
    if ip.family is not None and ip.family != f"ipv{ip.version}":
        detail = f"{ip.family} family specified for address '{ip.address}' of the other family"
        raise ConfError("xml", f"{detail} in network '{name}'")
    if ip.dhcp is None:
        return
    for span in ip.dhcp.ranges:
        _check_range(ip, ip_address(span.start), ip_address(span.end), subnet)
    for host in ip.dhcp.hosts:
        check_host(name, ip, host)


def _check_range(ip: Ip, first: Address, last: Address, subnet: Subnet) -> None:
    where = f"{first} - {last}"
    if first.version != last.version or first.version != subnet.version:
        raise ConfError("internal", f"mismatch of address family in range {where} for network")
    if first not in subnet or last not in subnet:
        detail = f"range {where} is not entirely within network {ip.address}/{subnet.prefixlen}"
        raise ConfError("internal", detail)
    if int(last) < int(first):
        raise ConfError("internal", f"range {where} is reversed")
    if isinstance(subnet, IPv4Network) and subnet.prefixlen < 31:
        if first == subnet.network_address:
            detail = f"start of range {where} in network {subnet} is the network address"
            raise ConfError("internal", detail)
        if last == subnet.broadcast_address:
            detail = f"end of range {where} in network {subnet} is the broadcast address"
            raise ConfError("internal", detail)


def check_host(name: str, ip: Ip, host: DhcpHost) -> None:
    """Refuse a <host> of <dhcp> that says too little, or what cannot be.

    Raises:
        ConfError: "xml".
    """
    if host.mac is not None:
        try:
            mac_address(host.mac)
        except ValueError:
            detail = f"Cannot parse MAC address '{host.mac}' in network '{name}'"
            raise ConfError("xml", detail) from None
    if ip.version == 6 and host.mac is not None:
        detail = f"Invalid to specify MAC address '{host.mac}' in network '{name}' IPv6 static host"
        raise ConfError("xml", f"{detail} definition")
    where = f"static host definition in network '{name}'"
    if ip.version == 4 and host.id is not None:
        raise ConfError("xml", f"Invalid to specify id in IPv4 {where}")
    key = "mac" if ip.version == 4 else "id"
    if not host.name and not (host.mac or host.id):
        raise ConfError("xml", f"An IPv{ip.version} {where} must have {key} or name attribute")
    if host.ip is None and not (ip.version == 4 and host.mac and host.name):
        raise ConfError("xml", f"Missing IP address in {where}")
    if host.ip is not None and ip_address(host.ip).version != ip.version:
        raise ConfError("xml", f"Invalid IP address '{host.ip}' in {where}")


def _check_texts(network: Network) -> None:
    """Refuse what would be more than one line, or more than one word, of dnsmasq's configuration.

    Raises:
        ConfError: "xml".
    """
    for word in _words(network):
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in word):
            raise ConfError("xml", f"{word!r} in network '{network.name}' has a control character")


def _words(network: Network) -> Iterator[str]:
    """Every text of a document that reaches dnsmasq."""
    yield network.name
    yield from network.dnsmasq_options
    if network.domain is not None:
        yield network.domain.name
    if network.dns is not None:
        yield from _texts(network.dns)
    for ip in network.ips:
        yield ip.tftp_root or ""
        if ip.dhcp is not None:
            yield from _texts(ip.dhcp)


def _texts(model: object) -> Iterator[str]:
    """Every text in a model and those inside it."""
    if isinstance(model, str):
        yield model
    elif isinstance(model, list):
        for each in model:
            yield from _texts(each)
    elif is_dataclass(model):
        for field in fields(model):
            yield from _texts(getattr(model, field.name))


def refused(detail: str) -> ConfError:
    """CONFIG_UNSUPPORTED."""
    return ConfError("config_unsupported", detail)
