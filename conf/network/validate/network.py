"""Validates a whole network. Pure.

Owns: the order in which parts are checked, and the refusal of texts that are no single line.
May not touch: the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Final

from conf.errors import ConfError
from conf.network.model import Network
from conf.network.validate.addressing import check_addressing, check_dhcp_sections
from conf.network.validate.dns import check_dns
from conf.network.validate.errors import dns_error, xml_error
from conf.network.validate.forward import check_bridge, check_foreign, check_forward
from conf.network.validate.portgroups import check_sharing, check_tagging

LONGEST_NAME: Final = 240  # bytes; with its ending it is a file's


def validate(network: Network) -> None:
    """Validate a network.

    Raises:
        ConfError: "xml", "xml_detail", "config_unsupported", "internal", as libvirt.
    """
    _check_name(network.name)
    _check_texts(network)
    # libvirt's order: each part by itself as it is parsed, <forward> last, ...
    check_dns(network.name, network.dns)
    check_sharing(network)
    check_addressing(network)
    check_forward(network)
    check_bridge(network)
    # ... then what the network's driver does not do.
    check_foreign(network)
    check_dhcp_sections(network)
    check_tagging(network)
    if any(not option.value for option in network.options):
        raise ConfError("internal", f"No dnsmasq options value specified in '{network.name}'")


def _check_name(name: str) -> None:
    if not name:
        raise ConfError("no_name", "<network>: it needs a <name>")
    if "/" in name or "\n" in name:
        letter = "/" if "/" in name else "line end"
        raise dns_error(f"invalid char in name: {letter}")
    if name in (".", ".."):
        raise xml_error(f"name {name!r} cannot name a file")
    if len(name.encode()) > LONGEST_NAME:
        raise ConfError("system_error", f"Failed to create file '{name}.xml': File name too long")


def _check_texts(network: Network) -> None:
    """Refuse control characters: a line break would add options to dnsmasq's configuration.

    Raises:
        ConfError: "xml".
    """
    for text in _dnsmasq_texts(network):
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise ConfError("xml", f"{text!r} in network '{network.name}' has a control character")


def _dnsmasq_texts(network: Network) -> Iterator[str]:
    """Yield every text that is written to dnsmasq's files."""
    yield network.name
    yield from network.dnsmasq_options
    if network.domain is not None:
        yield network.domain.name or ""
    if network.dns is not None:
        yield from _texts(network.dns)
    for ip in network.ips:
        yield ip.tftp_root or ""
        if ip.dhcp is not None:
            yield from _texts(ip.dhcp)


def _texts(model: object) -> Iterator[str]:
    """Yield every text of a model and its children."""
    if isinstance(model, str):
        yield model
    elif isinstance(model, list):
        for item in model:
            yield from _texts(item)
    elif is_dataclass(model):
        for field in fields(model):
            yield from _texts(getattr(model, field.name))
