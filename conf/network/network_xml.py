"""Parses, completes and formats <network>. Pure.

Owns: `parse_network`, `format_network`, `complete`. May not touch: the host.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import replace

from conf.mapper import NAMESPACES, Mode, parse, write
from conf.network.forward import FIRST_PORT, LAST_PORT, Forward, ForwardMode, Nat, NatPorts
from conf.network.model import Bridge, Network

#: Networks that are a bridge of the host's own making.
OWN_BRIDGE = (ForwardMode.NONE, ForwardMode.NAT, ForwardMode.ROUTE, ForwardMode.OPEN)


def parse_network(xml: bytes | str) -> Network:
    """Parse a network; defaults are not filled in.

    Raises:
        ConfError: it is none; the kind is libvirt's code.
    """
    return parse(Network, xml)


def format_network(network: Network, *, inactive: bool, connections: int = 0) -> str:
    """Format a network.

    Args:
        network: to format.
        inactive: without the parts that only an active network has.
        connections: number of ports; written for an active network.
    """
    if connections and not inactive:
        network = replace(network, connections=connections)
    if not inactive and network.forward is not None and mode_of(network) is ForwardMode.NAT:
        network = replace(network, forward=_with_nat_ports(network.forward))
    text = write(network, Mode(live=not inactive, secure=False))
    if network.options:
        text = text.replace("<network", f"<network xmlns:dnsmasq='{NAMESPACES['dnsmasq']}'", 1)
    return text


def _with_nat_ports(forward: Forward) -> Forward:
    """Name the ports of translated connections: an active network has them, as with libvirt."""
    nat = forward.nat or Nat()
    if nat.ports:
        return forward
    ports = [NatPorts(start=FIRST_PORT, end=LAST_PORT)]
    return replace(forward, nats=[replace(nat, ports=ports)])


def mode_of(network: Network) -> ForwardMode:
    """Return the forward mode."""
    return network.forward.mode if network.forward is not None else ForwardMode.NONE


def new_mac() -> str:
    """Generate a MAC address with QEMU's prefix."""
    return "52:54:00:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))


def complete(
    network: Network,
    *,
    make_uuid: Callable[[], str] = lambda: str(uuid.uuid4()),
    make_mac: Callable[[], str] = new_mac,
) -> Network:
    """Fill in UUID, MAC address and other defaults, in place; not the bridge's name."""
    network.uuid = network.uuid or make_uuid()
    if mode_of(network) in OWN_BRIDGE:
        bridge = network.bridge = network.bridge or Bridge()
        bridge.stp = True if bridge.stp is None else bridge.stp
        bridge.delay = bridge.delay or 0
        network.mac = network.mac or make_mac()
    elif network.bridge is not None:
        network.bridge.delay = network.bridge.delay or None
        if network.bridge == Bridge():
            network.bridge = None
    return network
