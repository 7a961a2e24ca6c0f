"""ObjectFinder: what an object is that a client, a document or an administrator names.

Owns: which look-up of a service says it.
May touch: the service's own look-ups. May not touch: rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from rpc.errors import VirError
from rpc.values import (
    Domain,
    DomainCheckpoint,
    DomainSnapshot,
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
from supervisor.access.access_object import AccessObject, ObjectValue, describe, text
from supervisor.access.documents import text_of_element
from supervisor.messages.calls import Client

METADATA_ELEMENT: Final = 2  # virDomainMetadataType
BY_UUID: Final = {
    "domain": "domain_lookup_by_uuid",
    "network": "network_lookup_by_uuid",
    "storage_pool": "storage_pool_lookup_by_uuid",
    "nwfilter": "nwfilter_lookup_by_uuid",
    "secret": "secret_lookup_by_uuid",
}
BY_NAME: Final = {
    "domain": "domain_lookup_by_name",
    "network": "network_lookup_by_name",
    "storage_pool": "storage_pool_lookup_by_name",
    "nwfilter": "nwfilter_lookup_by_name",
    "interface": "interface_lookup_by_name",
    "node_device": "node_device_lookup_by_name",
    "nwfilter_binding": "nwfilter_binding_lookup_by_port_dev",
}
TYPES: Final = {
    Domain: "domain",
    Network: "network",
    StoragePool: "storage_pool",
    Nwfilter: "nwfilter",
    Secret: "secret",
}

Invoke = Callable[..., Awaitable[Any]]


class ObjectFinder:
    """The objects of one service."""

    def __init__(self, metadata_uris: Callable[[], tuple[str, ...]]) -> None:
        """Make the finder.

        Args:
            metadata_uris: the namespaces of the domains' metadata that rules look at.
        """
        self._uris = metadata_uris
        self.invoke: Invoke  # calls a method of the service: `invoke(name, client, *arguments)`

    async def find(self, client: Client, value: Any) -> tuple[Any, AccessObject]:  # noqa: ANN401
        """Look up the object that a client names; the first is its argument as it should be.

        Raises:
            VirError: there is none; the pool of a volume is off.
        """
        match value:
            case DomainSnapshot() | DomainCheckpoint():
                dom, obj = await self.find(client, value.dom)
                return value._replace(dom=dom), obj
            case StorageVol(pool, name, _):
                found_pool = await self.invoke("storage_pool_lookup_by_name", client, pool)
                found = await self.invoke("storage_vol_lookup_by_name", client, found_pool, name)
                return found, describe(found, text(found_pool.uuid))
            case NetworkPort(net, uuid):
                found = await self.invoke("network_port_lookup_by_uuid", client, net, uuid)
            case Interface(name, _):
                found = await self.invoke("interface_lookup_by_name", client, name)
            case NodeDevice(name):
                found = await self.invoke("node_device_lookup_by_name", client, name)
            case NwfilterBinding(device, _):
                found = await self.invoke("nwfilter_binding_lookup_by_port_dev", client, device)
            case _:
                found = await self._find_by_uuid(client, value)
        return await self.describe(client, found)

    async def _find_by_uuid(self, client: Client, value: Any) -> Any:  # noqa: ANN401
        try:
            return await self.invoke(BY_UUID[TYPES[type(value)]], client, value.uuid)
        except VirError as error:
            name = getattr(value, "name", "")
            if name and error.detail.endswith(f"uuid '{text(value.uuid)}'"):
                # As the method says it that looks the client's value up.
                raise VirError(error.code, f"{error.detail} ({name})", error.domain) from None
            raise

    async def describe(
        self, client: Client, value: ObjectValue
    ) -> tuple[ObjectValue, AccessObject]:
        """Describe an object of this service, with what the access drivers look at."""
        if isinstance(value, StorageVol):
            pool = await self.invoke("storage_pool_lookup_by_name", client, value.pool)
            return value, describe(value, text(pool.uuid))
        obj = describe(value)
        if isinstance(value, Domain) and self._uris():
            obj = replace(obj, metadata=await self._metadata(client, value))
        return value, obj

    async def _metadata(self, client: Client, dom: Domain) -> tuple[tuple[str, str], ...]:
        found = []
        for uri in self._uris():
            try:
                xml = await self.invoke(
                    "domain_get_metadata", client, dom, METADATA_ELEMENT, uri, 0
                )
            except VirError:  # NO_DOMAIN_METADATA
                continue
            found.append((uri, text_of_element(xml)))
        return tuple(found)

    async def named(self, client: Client, object_type: str, name: str) -> tuple[Any, AccessObject]:
        """Look up the object that an administrator names.

        Args:
            client: whose view it is.
            object_type: as in rpc/access.table.
            name: its name or UUID; of a volume POOL/VOLUME, of a port NETWORK/UUID.

        Raises:
            VirError: there is none.
        """
        container, _, inner = name.rpartition("/")
        uuid = uuid_of(name)
        if object_type == "storage_vol":
            return await self.find(client, StorageVol(container, inner, ""))
        if object_type == "network_port":
            network = await self.invoke(BY_NAME["network"], client, container)
            return await self.find(client, NetworkPort(network, uuid_of(inner) or bytes(16)))
        if object_type in BY_UUID and (uuid is not None or object_type not in BY_NAME):
            found = await self.invoke(BY_UUID[object_type], client, uuid or bytes(16))
        else:
            found = await self.invoke(BY_NAME[object_type], client, name)
        return await self.describe(client, found)


def uuid_of(text: str) -> bytes | None:
    """Return the bytes of a UUID; None: the text is none."""
    try:
        return UUID(text).bytes
    except ValueError:
        return None
