"""The object that a document defines: its name and UUID, read as the service will read them.

Owns: how the document of each type of object names it. Pure.
May not touch: what else a document says. A name that is read otherwise here than by the service
would get past the rules: so the mapper reads it, or the service's own parser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from lxml import etree

from conf.interface import parse_interface
from conf.mapper import element, parse, parse_root, text
from conf.mapper.safe_parse import parse_tree
from conf.nwfilter import parse_binding, parse_filter
from conf.secret import parse_secret
from conf.storage.pool import parse_pool
from conf.types.uuid import parse_uuid
from rpc.enums import SecretUsageType
from rpc.values import (
    Domain,
    Interface,
    Network,
    NetworkPort,
    NodeDevice,
    Nwfilter,
    NwfilterBinding,
    Secret,
    StoragePool,
    StorageVol,
)
from supervisor.access.access_object import AccessObject, ObjectValue, describe


@element("domain")
@dataclass(slots=True, kw_only=True)
class DomainHeader:
    """<domain>: what it is called."""

    name: str = text("name", default="")
    uuid: str = text("uuid", default="")


@element("network")
@dataclass(slots=True, kw_only=True)
class NetworkHeader:
    """<network>: what it is called."""

    name: str = text("name", default="")
    uuid: str = text("uuid", default="")


@element("networkport")
@dataclass(slots=True, kw_only=True)
class PortHeader:
    """<networkport>: its UUID."""

    uuid: str = text("uuid", default="")


@element("volume")
@dataclass(slots=True, kw_only=True)
class VolumeHeader:
    """<volume>: its name."""

    name: str = text("name", default="")


@element("device")
@dataclass(slots=True, kw_only=True)
class DeviceHeader:
    """<device>: its name, which the host may choose otherwise."""

    name: str = text("name", default="")


def defined(object_type: str, xml: str, inside: ObjectValue | None = None) -> AccessObject:
    """Describe the object that a document defines.

    Args:
        object_type: as in rpc/access.table.
        xml: the client's.
        inside: the pool of a volume, the network of a port.

    Raises:
        ConfError: the document is none of that type; the service will refuse it, too.
    """
    if object_type == "storage_vol":
        assert isinstance(inside, StoragePool), "volumes are in pools"
        name = parse(VolumeHeader, xml).name
        return describe(StorageVol(inside.name, name, ""), str(UUID(bytes=inside.uuid)))
    if object_type == "network_port":
        assert isinstance(inside, Network), "ports are in networks"
        return describe(NetworkPort(inside, uuid_bytes(parse(PortHeader, xml).uuid)))
    return describe(READERS[object_type](xml))


def metadata_of(xml: str, uris: Iterable[str]) -> dict[str, str]:
    """Return the text of a domain's metadata elements by their namespaces, of those it has.

    Raises:
        ConfError: the document is no domain.
    """
    root = parse_root(DomainHeader, xml)
    found: dict[str, str] = {}
    for uri in uris:
        for node in root.iterfind(f"metadata/{{{uri}}}*"):
            found.setdefault(uri, element_text(node))
    return found


def text_of_element(xml: str) -> str:
    """Return the text in an element that a service has formatted."""
    return element_text(parse_tree(xml))


def element_text(node: etree._Element) -> str:
    """Return the text in an element, without the space around it."""
    return "".join(str(part) for part in node.itertext(with_tail=False)).strip()


def _domain(xml: str) -> Domain:
    header = parse(DomainHeader, xml)
    return Domain(header.name, uuid_bytes(header.uuid), -1)


def _network(xml: str) -> Network:
    header = parse(NetworkHeader, xml)
    return Network(header.name, uuid_bytes(header.uuid))


def _pool(xml: str) -> StoragePool:
    pool = parse_pool(xml, make_uuid=str)
    return StoragePool(pool.name, uuid_bytes(pool.uuid))


def _secret(xml: str) -> Secret:
    secret = parse_secret(xml, make_uuid=str)
    usage = SecretUsageType[secret.usage_type.name]
    return Secret(uuid_bytes(secret.uuid), usage, secret.usage_id)


def _filter(xml: str) -> Nwfilter:
    found = parse_filter(xml)
    return Nwfilter(found.name, uuid_bytes(found.uuid or ""))


def _binding(xml: str) -> NwfilterBinding:
    binding = parse_binding(xml)
    return NwfilterBinding(binding.tap, binding.filter)


def _interface(xml: str) -> Interface:
    interface = parse_interface(xml)
    return Interface(interface.name or "", interface.mac or "")


def _device(xml: str) -> NodeDevice:
    return NodeDevice(parse(DeviceHeader, xml).name)


READERS: Final[Mapping[str, Callable[[str], ObjectValue]]] = {
    "domain": _domain,
    "network": _network,
    "storage_pool": _pool,
    "secret": _secret,
    "nwfilter": _filter,
    "nwfilter_binding": _binding,
    "interface": _interface,
    "node_device": _device,
}


def uuid_bytes(uuid: str) -> bytes:
    """Return the bytes of a UUID; b"" for none, or for a malformed one, which services refuse."""
    try:
        return UUID(parse_uuid(uuid)).bytes
    except ValueError:
        return b""
