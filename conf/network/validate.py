"""What a network's document must not say. Pure.

Owns: those refusals, in libvirt's codes. May not touch: the host.
"""

from __future__ import annotations

from ipaddress import ip_address

from conf.errors import ConfError
from conf.network.addressing import Ip
from conf.network.document import OWN_BRIDGE, mode_of
from conf.network.forward import ForwardMode
from conf.network.model import Network


def validate(network: Network) -> None:
    """Refuse a document that cannot be a network.

    Raises:
        ConfError: "xml", "config_unsupported" as libvirt.
    """
    _check_name(network.name)
    mode = mode_of(network)
    if mode not in OWN_BRIDGE and network.ips:
        raise refused(f"unsupported <ip> element in network {network.name} with mode='{mode}'")
    if mode is ForwardMode.OPEN and network.forward is not None and network.forward.dev:
        detail = f"forward dev not allowed for network '{network.name}' with forward mode='open'"
        raise ConfError("xml", detail)
    for ip in network.ips:
        _check_ip(network.name, ip)
    devices = [each.dev for each in network.forward.interfaces] if network.forward else []
    twice = next((dev for dev in devices if devices.count(dev) > 1), None)
    if twice is not None:
        detail = f"interface '{twice}' can only be listed once in network {network.name}"
        raise ConfError("xml", detail)


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
        raise ConfError(
            "xml", f"Invalid netmask or prefix in network '{name}': {problem}"
        ) from None
    for span in ip.dhcp.ranges if ip.dhcp is not None else ():
        first, last = ip_address(span.start), ip_address(span.end)
        if first not in subnet or last not in subnet:
            detail = f"range {first} - {last} is not entirely within network {ip.address}/"
            raise ConfError("internal", f"{detail}{subnet.prefixlen}")
        if first.version == last.version and int(last) < int(first):
            detail = f"range {first} - {last} is reversed"
            raise ConfError("internal", detail)


def refused(detail: str) -> ConfError:
    """CONFIG_UNSUPPORTED."""
    return ConfError("config_unsupported", detail)
