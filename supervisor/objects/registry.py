"""Everything of one kind, found by name or UUID.

Owns: that table. May not touch: files, the bus.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.object_type import ObjectType


class RegisteredObject(Protocol):
    """What is kept of one thing."""

    name: str
    uuid: bytes

    @property
    def is_listed(self) -> bool:
        """Whether clients know of it."""

    @property
    def uuid_text(self) -> str:
        """The UUID with hyphens."""


class ObjectRef(Protocol):
    """A thing as clients name it."""

    @property
    def name(self) -> str:
        """Its name, or nothing."""

    @property
    def uuid(self) -> bytes:
        """Its UUID, which counts."""


E = TypeVar("E", bound=RegisteredObject)


class Registry(Generic[E]):
    """All of one kind."""

    def __init__(self, kind: ObjectType) -> None:
        """Know none."""
        self.object_type = kind
        self._by_uuid: dict[bytes, E] = {}
        self._by_name: dict[str, E] = {}

    @property
    def errors(self) -> ServiceErrors:
        """The errors of the service or driver whose objects these are."""
        return self.object_type.errors

    def __iter__(self) -> Iterator[E]:
        """All that are there."""
        return iter([entry for entry in self._by_uuid.values() if entry.is_listed])

    def add(self, entry: E) -> None:
        """Know one whose name and UUID are free."""
        assert self._by_uuid.get(entry.uuid, entry) is entry, "two of one UUID"
        assert self._by_name.get(entry.name, entry) is entry, "two of one name"
        self._by_uuid[entry.uuid] = entry
        self._by_name[entry.name] = entry

    def remove(self, entry: E) -> None:
        """Forget one."""
        if self._by_uuid.get(entry.uuid) is entry:
            del self._by_uuid[entry.uuid]
        if self._by_name.get(entry.name) is entry:
            del self._by_name[entry.name]

    def by_name(self, name: str) -> E | None:
        """The one of that name, even if it is only being created."""
        return self._by_name.get(name)

    def by_uuid(self, uuid: bytes) -> E | None:
        """The one of that UUID, even if it is only being created."""
        return self._by_uuid.get(uuid)

    def find(self, identity: ObjectRef) -> E:
        """The one that a client names; its UUID counts.

        Raises:
            VirError: NO_DOMAIN, NO_NETWORK, NO_STORAGE_POOL: there is none.
        """
        entry = self._by_uuid.get(identity.uuid)
        if entry is None or not entry.is_listed:
            which = f"with matching uuid '{UUID(bytes=identity.uuid)}'"
            raise self.object_type.no_such(f"{which} ({identity.name})" if identity.name else which)
        return entry

    def get_by_name(self, name: str) -> E:
        """The one of that name.

        Raises:
            VirError: as `find`.
        """
        entry = self.by_name(name)
        if entry is None or not entry.is_listed:
            raise self.object_type.no_such(f"with matching name '{name}'")
        return entry

    def match_or_conflict(self, name: str, uuid: bytes) -> E | None:
        """The one of this name and UUID; None when both are free.

        Raises:
            VirError: OPERATION_FAILED when one of them belongs to another.
        """
        word = self.object_type.name
        same_uuid = self._by_uuid.get(uuid)
        if same_uuid is not None and same_uuid.name != name:
            taken = same_uuid.uuid_text
            detail = f"{word} '{same_uuid.name}' is already defined with uuid {taken}"
            raise self.object_type.conflict(detail)
        same_name = self.by_name(name)
        if same_name is not None and same_name.uuid != uuid:
            detail = f"{word} '{name}' already exists with uuid {same_name.uuid_text}"
            raise self.object_type.conflict(detail)
        return same_uuid
