"""Every network, found by name or UUID.

Owns: the table of networks. May not touch: files, links, the bus.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Network as NetworkId
from supervisor.netd.entry import Entry


class Registry:
    """The networks of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        self._by_uuid: dict[bytes, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Every network that is there."""
        return iter([entry for entry in self._by_uuid.values() if entry.is_there])

    def add(self, entry: Entry) -> None:
        """Know a network whose name and UUID are free."""
        assert self._by_uuid.get(entry.uuid, entry) is entry, "two networks of one UUID"
        self._by_uuid[entry.uuid] = entry

    def remove(self, entry: Entry) -> None:
        """Forget a network."""
        if self._by_uuid.get(entry.uuid) is entry:
            del self._by_uuid[entry.uuid]

    def by_name(self, name: str) -> Entry | None:
        """The network of that name, even if it is only being created."""
        return next((entry for entry in self._by_uuid.values() if entry.name == name), None)

    def by_uuid(self, uuid: bytes) -> Entry | None:
        """The network of that UUID, even if it is only being created."""
        return self._by_uuid.get(uuid)

    def find(self, identity: NetworkId) -> Entry:
        """The network that a client names; its UUID counts.

        Raises:
            VirError: NO_NETWORK.
        """
        entry = self._by_uuid.get(identity.uuid)
        if entry is None or not entry.is_there:
            which = f"with matching uuid '{UUID(bytes=identity.uuid)}'"
            raise no_network(f"{which} ({identity.name})" if identity.name else which)
        return entry

    def named(self, name: str) -> Entry:
        """The network of that name.

        Raises:
            VirError: NO_NETWORK.
        """
        entry = self.by_name(name)
        if entry is None or not entry.is_there:
            raise no_network(f"with matching name '{name}'")
        return entry

    def claim(self, name: str, uuid: bytes) -> Entry | None:
        """The network of this name and UUID; None when both are free.

        Raises:
            VirError: OPERATION_FAILED when one of them belongs to another network.
        """
        same_uuid = self._by_uuid.get(uuid)
        if same_uuid is not None and same_uuid.name != name:
            detail = (
                f"network '{same_uuid.name}' is already defined with uuid {same_uuid.uuid_text}"
            )
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NETWORK)
        same_name = self.by_name(name)
        if same_name is not None and same_name.uuid != uuid:
            detail = f"network '{name}' already exists with uuid {same_name.uuid_text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NETWORK)
        return same_uuid


def no_network(which: str) -> VirError:
    """NO_NETWORK: there is none such."""
    return VirError(ErrorCode.NO_NETWORK, f"no network {which}", ErrorDomain.NETWORK)


def not_active(entry: Entry) -> VirError:
    """OPERATION_INVALID: the call needs a network that runs."""
    detail = f"network '{entry.name}' is not active"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NETWORK)
