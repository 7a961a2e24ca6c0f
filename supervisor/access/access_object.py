"""AccessObject: an object as access control sees it, whatever type of object it is.

Owns: what rules may look at, and the attributes that polkit's rules get. Pure.
Source: libvirt 9.0, "Polkit access control", object identity attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

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

CONNECT: Final = "connect"
#: The attribute that names a secret's usage.
USAGES: Final[dict[int, str]] = {
    SecretUsageType.VOLUME: "secret_usage_volume",
    SecretUsageType.CEPH: "secret_usage_ceph",
    SecretUsageType.ISCSI: "secret_usage_target",
    SecretUsageType.TLS: "secret_usage_name",
}

#: Types of objects with a name and a UUID, and how their attributes begin.
NAMED: Final = {
    Domain: ("domain", "domain"),
    Network: ("network", "network"),
    Nwfilter: ("nwfilter", "nwfilter"),
    StoragePool: ("storage_pool", "pool"),
}

ObjectValue = (
    Domain | Interface | Network | NetworkPort | NodeDevice | Nwfilter | NwfilterBinding | Secret
    | StoragePool | StorageVol
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessObject:
    """One object, or the connection itself."""

    type: str  # "domain", "storage_vol", …, as in rpc/access.table; "connect"
    name: str = ""
    uuid: str = ""
    pool: str = ""  # the name of a volume's pool
    attributes: tuple[tuple[str, str], ...] = ()  # polkit's, without `connect_driver`
    #: The text of a domain's metadata elements by their namespace, where rules look at them.
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """How errors and logs call it."""
        if self.type == CONNECT:
            return "the connection"
        return f"{self.type.replace('_', ' ')} '{self.name or self.uuid}'"


CONNECTION: Final = AccessObject(type=CONNECT)


def describe(value: ObjectValue, pool_uuid: str = "") -> AccessObject:
    """Describe an object that a service has named itself: a client's own value may lie.

    Args:
        value: as calls give and return it.
        pool_uuid: of a volume's pool.
    """
    match value:
        case Domain() | Network() | Nwfilter() | StoragePool():
            return _named(*NAMED[type(value)], value.name, text(value.uuid))
        case StorageVol(pool, name, key):
            named = (("pool_name", pool), ("pool_uuid", pool_uuid), ("vol_name", name))
            attributes = present((*named, ("vol_key", key)))
            return AccessObject(type="storage_vol", name=name, pool=pool, attributes=attributes)
        case Interface(name, mac):
            attributes = present((("interface_name", name), ("interface_macaddr", mac)))
            return AccessObject(type="interface", name=name, attributes=attributes)
        case NodeDevice(name):
            attributes = present((("node_device_name", name),))
            return AccessObject(type="node_device", name=name, attributes=attributes)
        case NwfilterBinding(portdev, _):
            attributes = present((("nwfilter_binding_portdev", portdev),))
            return AccessObject(type="nwfilter_binding", name=portdev, attributes=attributes)
        case NetworkPort(net, uuid):
            network = describe(net)
            attributes = (*network.attributes, *present((("network_port_uuid", text(uuid)),)))
            return AccessObject(
                type="network_port", name=net.name, uuid=text(uuid), attributes=attributes
            )
        case Secret(uuid, usage_type, usage_id):
            usage = (USAGES.get(usage_type, ""), usage_id)
            attributes = present((("secret_uuid", text(uuid)), usage))
            return AccessObject(
                type="secret", name=usage_id, uuid=text(uuid), attributes=attributes
            )


def text(uuid: bytes) -> str:
    """Format a UUID; "" for none."""
    return str(UUID(bytes=uuid)) if len(uuid) == 16 else ""


def present(attributes: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the attributes that have a name and a value."""
    return tuple(attribute for attribute in attributes if all(attribute))


def _named(object_type: str, prefix: str, name: str, uuid: str) -> AccessObject:
    attributes = present(((f"{prefix}_name", name), (f"{prefix}_uuid", uuid)))
    return AccessObject(type=object_type, name=name, uuid=uuid, attributes=attributes)
