"""Validates <forward>, <bridge>, <mac>, <mtu> and <domain>. Pure."""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import PciAddress
from conf.interface.attributes import DEVICE
from conf.network.forward import LAST_PORT, Forward, ForwardMode, Nat
from conf.network.model import Bridge, Network
from conf.network.network_xml import OWN_BRIDGE, mode_of
from conf.network.validate.addressing import check_span
from conf.network.validate.errors import dns_error, unsupported, xml_error
from conf.types.repeats import first_repeated

ONE_DEVICE: Final = (ForwardMode.NAT, ForwardMode.ROUTE)
NEEDS_ADDRESS: Final = (ForwardMode.NAT, ForwardMode.ROUTE, ForwardMode.OPEN)
LARGEST_MTU: Final = 0xFFFFFFFF


def check_forward(network: Network) -> None:
    """Validate a <forward>.

    Raises:
        ConfError: "xml", "xml_detail", "config_unsupported", "internal".
    """
    forward, mode = network.forward, mode_of(network)
    if forward is None:
        return
    first = forward.interfaces[0].dev if forward.interfaces else None
    if forward.dev and forward.dev != first:
        detail = f"<forward dev='{forward.dev}'> must match first <interface dev='{first}'/>"
        raise xml_error(f"{detail} in network {network.name}")
    if len(forward.nats) > 1:
        detail = f"Only one <nat> element is allowed in <forward> of network {network.name}"
        raise xml_error(detail)
    if forward.nat is not None:
        _check_nat(network.name, mode, forward.nat)
    _check_devices(network.name, mode, forward)
    if mode is ForwardMode.OPEN and forward.dev:
        detail = f"forward dev not allowed for network '{network.name}' with forward mode='open'"
        raise xml_error(detail)
    if mode in NEEDS_ADDRESS and not network.ips:
        detail = f"{mode} forwarding requested, but no IP address provided for network"
        raise xml_error(f"{detail} '{network.name}'")
    if mode in ONE_DEVICE and len(forward.interfaces) > 1:
        detail = f"multiple forwarding interfaces specified for network '{network.name}'"
        raise xml_error(f"{detail}, only one is supported")


def _check_nat(name: str, mode: ForwardMode, nat: Nat) -> None:
    where = f"in <nat> in <forward> in network {name}"
    if mode is not ForwardMode.NAT:
        detail = "The <nat> element can only be used when <forward> 'mode' is 'nat' in network"
        raise xml_error(f"{detail} {name}")
    if len(nat.addresses) > 1:
        raise xml_error(f"Only one <address> element is allowed {where}")
    if len(nat.ports) > 1:
        raise xml_error(f"Only one <port> element is allowed {where}")
    for address in (nat.first, nat.last):
        if address is not None and address.version != 4:
            raise xml_error(f"Bad ipv4 address '{address}' {where}")
    if nat.first is not None and nat.last is not None:
        check_span(nat.first, nat.last)
    if not 0 <= nat.first_port <= LAST_PORT:
        raise dns_error(f"Missing or invalid 'start' attribute in <port> {where}")
    if not nat.first_port <= nat.last_port <= LAST_PORT:
        raise dns_error(f"Missing or invalid 'end' attribute in <port> {where}")


def _check_devices(name: str, mode: ForwardMode, forward: Forward) -> None:
    if len(forward.functions) > 1:
        raise xml_error(f"Only one <pf> element is allowed in <forward> of network {name}")
    devices = [interface.dev for interface in forward.interfaces]
    for device in (*devices, *(interface.dev for interface in forward.functions)):
        if not device:
            detail = f"Missing required dev attribute in <forward> of network '{name}'"
            raise xml_error(f"{detail}: of <interface> or <pf>")
        check_device(name, device)
    twice = first_repeated(devices)
    if twice is not None:
        raise xml_error(f"interface '{twice}' can only be listed once in network {name}")
    if mode is ForwardMode.HOSTDEV and forward.interfaces:
        detail = f"hostdev network '{name}' lists '{forward.dev}' in the device pool, but hostdev"
        raise unsupported(f"{detail} networks require all devices to be listed by PCI address")
    _check_addresses(name, mode, forward.addresses)


def _check_addresses(name: str, mode: ForwardMode, addresses: list[PciAddress]) -> None:
    for address in addresses:
        if address.type != "pci":
            raise unsupported(f"unknown address type '{address.type}' in network {name}; use 'pci'")
    if addresses and mode is not ForwardMode.HOSTDEV:
        detail = f"network '{name}' has forward mode '{mode}' but lists a device by PCI address in "
        raise unsupported(
            f"{detail}the device pool, which is only supported for forward mode 'hostdev'"
        )
    places = [f"{a.domain:04x}:{a.bus:02x}:{a.slot:02x}.{a.function}" for a in addresses]
    twice = first_repeated(places)
    if twice is not None:
        raise xml_error(f"PCI device '{twice}' can only be listed once in network {name}")


def check_bridge(network: Network) -> None:
    """Refuse a <bridge> or <mtu> that the mode does not allow.

    Raises:
        ConfError: "xml".
    """
    name, mode = network.name, mode_of(network)
    bridge = network.bridge or Bridge()
    if bridge.name:
        check_device(name, bridge.name.replace("%d", "0"))
    if network.mtu is not None and network.mtu > LARGEST_MTU:
        raise xml_error(f"Invalid mtu size '{network.mtu}' in network '{name}'")
    if mode in OWN_BRIDGE:
        return
    if mode is not ForwardMode.BRIDGE:
        if bridge.name:
            raise xml_error(f"bridge name not allowed in {mode} mode (network '{name}')")
    elif bridge.name and network.forward is not None and network.forward.dev:
        detail = "A network with forward mode='bridge' can specify a bridge name or a forward dev"
        raise xml_error(f"{detail}, but not both (network '{name}')")
    if bridge.stp is not None or bridge.delay or bridge.zone:
        detail = "bridge delay/stp/zone options only allowed in route, nat, and isolated mode"
        raise xml_error(f"{detail}, not in {mode} (network '{name}')")
    if network.mtu is not None:
        detail = "mtu size only allowed in open, route, nat, and isolated mode"
        raise xml_error(f"{detail}, not in {mode} (network '{name}')")


def check_foreign(network: Network) -> None:
    """Refuse elements that only a network with its own bridge has.

    Raises:
        ConfError: "config_unsupported".
    """
    mode = mode_of(network)
    if mode in OWN_BRIDGE:
        return
    dns = network.dns
    records = dns is not None and (dns.txts or dns.srvs or dns.hosts)
    parts = {"mac": network.mac, "ip": network.ips, "dns": records, "domain": network.domain}
    tag_found = next((tag for tag, part in parts.items() if part), None)
    if tag_found is not None:
        detail = f"Unsupported <{tag_found}> element in network {network.name}"
        raise unsupported(f"{detail} with forward mode='{mode}'")
    named = mode is ForwardMode.BRIDGE and network.bridge is not None and network.bridge.name
    if network.bandwidth is not None and not named:
        detail = f"Unsupported network-wide <bandwidth> element in network {network.name}"
        raise unsupported(f"{detail} with forward mode='{mode}'")


def check_device(network: str, device: str) -> None:
    """Refuse an invalid link name; libvirt fails at the start of the network only.

    Raises:
        ConfError: "xml".
    """
    if DEVICE.fullmatch(device) is None or device in (".", ".."):
        detail = f"'{device[:32]}' in network '{network}' cannot name a network device"
        raise xml_error(f"{detail}: take 1 to 15 characters, no space, / or :")
