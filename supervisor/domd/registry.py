"""Every domain, found by name, UUID or id.

Owns: the table of domains.
May not touch: files, the bus.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.domd.entry import Entry


class Registry:
    """The domains of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        self._by_uuid: dict[bytes, Entry] = {}
        self._by_name: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Every domain that is there."""
        return iter([entry for entry in self._by_uuid.values() if entry.is_there])

    def add(self, entry: Entry) -> None:
        """Know a domain whose name and UUID are free."""
        assert self._by_uuid.get(entry.uuid, entry) is entry, "two domains of one UUID"
        assert self._by_name.get(entry.name, entry) is entry, "two domains of one name"
        self._by_uuid[entry.uuid] = entry
        self._by_name[entry.name] = entry

    def remove(self, entry: Entry) -> None:
        """Forget a domain."""
        if self._by_uuid.get(entry.uuid) is entry:
            del self._by_uuid[entry.uuid]
        if self._by_name.get(entry.name) is entry:
            del self._by_name[entry.name]

    def rename(self, entry: Entry, name: str) -> None:
        """Know a domain by another name."""
        self._by_name.pop(entry.name, None)
        entry.name = entry.job.name = name
        self._by_name[name] = entry

    def by_name(self, name: str) -> Entry | None:
        """The domain of that name, if it is there."""
        entry = self._by_name.get(name)
        return entry if entry is not None and entry.is_there else None

    def by_uuid(self, uuid: bytes) -> Entry | None:
        """The domain of that UUID, even if it is only being created."""
        return self._by_uuid.get(uuid)

    def is_taken(self, name: str) -> bool:
        """Whether a domain has that name, even if it is only being created."""
        return name in self._by_name

    def by_id(self, number: int) -> Entry | None:
        """The running domain of that number."""
        return next((entry for entry in self._by_uuid.values() if entry.id == number >= 0), None)

    def find(self, identity: DomainId) -> Entry:
        """The domain that a client names; its UUID counts.

        Raises:
            VirError: NO_DOMAIN.
        """
        entry = self._by_uuid.get(identity.uuid)
        if entry is None or not entry.is_there:
            which = f"with matching uuid '{UUID(bytes=identity.uuid)}'"
            raise no_domain(f"{which} ({identity.name})" if identity.name else which)
        return entry

    def claim(self, name: str, uuid: bytes) -> Entry | None:
        """The domain of this name and UUID; None when both are free.

        Raises:
            VirError: OPERATION_FAILED when one of them belongs to another domain.
        """
        same_uuid = self._by_uuid.get(uuid)
        if same_uuid is not None and same_uuid.name != name:
            detail = f"domain '{same_uuid.name}' is already defined with uuid {same_uuid.uuid_text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.DOMAIN)
        same_name = self._by_name.get(name)
        if same_name is not None and same_name.uuid != uuid:
            detail = f"domain '{name}' already exists with uuid {same_name.uuid_text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.DOMAIN)
        return same_uuid


def no_domain(which: str) -> VirError:
    """NO_DOMAIN: there is none such."""
    return VirError(ErrorCode.NO_DOMAIN, f"no domain {which}", ErrorDomain.QEMU)


def not_running(entry: Entry) -> VirError:
    """OPERATION_INVALID: the call needs a running guest."""
    detail = f"domain is not running; start '{entry.name}' first"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.DOMAIN)
