"""<filterbinding>: the filter of a tap and its variables. Pure.

Owns: the model, reading and writing. Pure.
Source: libvirt 9.0 formatnwfilter, "Binding filters to ports"; its virNWFilterBinding documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.nwfilter.attribute_types import mac
from conf.nwfilter.format import attributes, reference, text
from conf.nwfilter.parse import read_parameters
from conf.types.uuid import parse_uuid

DEVICE: Final = re.compile(r"[A-Za-z0-9_.@+][A-Za-z0-9_.@+\-]{0,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBinding:
    """<filterbinding>."""

    tap: str
    mac: str
    filter: str
    owner: str  # the domain's name
    owner_uuid: str
    link: str = ""  # the device below a macvtap; "": none
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parse_binding(data: bytes | str) -> FilterBinding:
    """Parse a binding.

    Raises:
        ConfError: kinds "xml", "xml_detail", "internal".
    """
    root = parse_tree(data)
    if root.tag != "filterbinding":
        detail = f"unknown root element '{root.tag}' for nwfilter binding"
        raise ConfError("xml", detail, "/filterbinding")
    node = root.find("filterref")
    return FilterBinding(
        tap=_device(root, "portdev", "filter binding has no port dev name"),
        mac=_mac(root),
        filter=_needed(root, "filterref/@filter", "filter binding has no filter reference"),
        owner=_needed(root, "owner/name", "filter binding has no owner name"),
        owner_uuid=_uuid(root),
        link=_device(root, "linkdev", "") if root.find("linkdev") is not None else "",
        variables=read_parameters(node) if node is not None else {},
    )


def format_binding(binding: FilterBinding) -> str:
    """Format a binding."""
    return "".join(f"{line}\n" for line in _lines(binding))


def _lines(binding: FilterBinding) -> Iterator[str]:
    yield "<filterbinding>"
    yield "  <owner>"
    yield f"    <name>{text(binding.owner)}</name>"
    yield f"    <uuid>{binding.owner_uuid}</uuid>"
    yield "  </owner>"
    yield f"  <portdev{attributes({'name': binding.tap})}/>"
    if binding.link:
        yield f"  <linkdev{attributes({'name': binding.link})}/>"
    yield f"  <mac{attributes({'address': binding.mac})}/>"
    for line in reference(binding.filter, binding.variables):
        yield f"  {line}"
    yield "</filterbinding>"


def _needed(root: etree._Element, path: str, missing: str) -> str:
    place, _, name = path.partition("/@")
    node = root.find(place)
    text = None if node is None else node.get(name) if name else node.text
    if not text:
        raise ConfError("internal", missing, f"/filterbinding/{path}")
    return str(text)


def _device(root: etree._Element, tag: str, missing: str) -> str:
    name = _needed(root, f"{tag}/@name", missing or f"filter binding has no name of <{tag}>")
    if DEVICE.fullmatch(name) is None or name in (".", ".."):
        raise ConfError("xml", f"'{name}' cannot name a network device", f"/filterbinding/{tag}")
    return name


def _mac(root: etree._Element) -> str:
    address = _needed(root, "mac/@address", "filter binding has no MAC address")
    try:
        return mac(address)
    except ValueError:
        detail = f"Unable to parse MAC '{address}'"
        raise ConfError("internal", detail, "/filterbinding/mac") from None


def _uuid(root: etree._Element) -> str:
    text = _needed(root, "owner/uuid", "filter binding has no owner UUID")
    try:
        return parse_uuid(text)
    except ValueError:
        detail = f"Unable to parse UUID '{text}'"
        raise ConfError("internal", detail, "/filterbinding/owner/uuid") from None


def parse_status(data: bytes | str) -> FilterBinding:
    """Parse the status file of a binding, <filterbindingstatus>.

    Raises:
        ConfError: as `parse_binding`.
    """
    root = parse_tree(data)
    node = root.find("filterbinding")
    if root.tag != "filterbindingstatus" or node is None:
        raise ConfError("xml", "the document is no <filterbindingstatus>", "/filterbindingstatus")
    return parse_binding(etree.tostring(node))


def format_status(binding: FilterBinding) -> str:
    """Format the status file of a binding."""
    lines = (f"  {line}\n" for line in _lines(binding))
    return f"<filterbindingstatus>\n{''.join(lines)}</filterbindingstatus>\n"
