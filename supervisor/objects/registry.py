"""Registry: the objects of one type, by name and UUID.

Owns: the objects, in memory. May not touch: files, the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType


class ObjectRef(Protocol):
    """An object as clients name it (remote_nonnull_…)."""

    @property
    def name(self) -> str:
        """Its name, or nothing."""

    @property
    def uuid(self) -> bytes:
        """Its UUID, which decides."""


E = TypeVar("E", bound=LibvirtObject[Any, Any])


class Registry(Generic[E]):
    """All objects of one type."""

    def __init__(
        self, object_type: ObjectType, make: Callable[[ObjectType, str, bytes], E]
    ) -> None:
        """Begin without objects.

        Args:
            object_type: of the objects.
            make: makes one of its type, name and UUID: its class.
        """
        self.object_type = object_type
        self._make = make
        self._by_uuid: dict[bytes, E] = {}
        self._by_name: dict[str, E] = {}

    @property
    def errors(self) -> ServiceErrors:
        """The errors of the service or driver whose objects these are."""
        return self.object_type.errors

    def __iter__(self) -> Iterator[E]:
        """Iterate over the objects that clients see."""
        return iter([obj for obj in self._by_uuid.values() if obj.is_listed])

    def __len__(self) -> int:
        return sum(obj.is_listed for obj in self._by_uuid.values())

    def add(self, obj: E) -> None:
        """Add an object whose name and UUID are free."""
        assert self._by_uuid.get(obj.uuid, obj) is obj, "two objects with one UUID"
        assert self._by_name.get(obj.name, obj) is obj, "two objects with one name"
        self._by_uuid[obj.uuid] = obj
        self._by_name[obj.name] = obj

    def remove(self, obj: E) -> None:
        """Remove an object."""
        if self._by_uuid.get(obj.uuid) is obj:
            del self._by_uuid[obj.uuid]
        if self._by_name.get(obj.name) is obj:
            del self._by_name[obj.name]

    def by_name(self, name: str) -> E | None:
        """Return the object of a name, even one that is only being created."""
        return self._by_name.get(name)

    def by_uuid(self, uuid: bytes) -> E | None:
        """Return the object of a UUID, even one that is only being created."""
        return self._by_uuid.get(uuid)

    def find(self, identity: ObjectRef) -> E:
        """Return the object that a client names; the UUID decides.

        Raises:
            VirError: NO_DOMAIN, NO_NETWORK, NO_STORAGE_POOL: there is none.
        """
        return self.get_by_uuid(identity.uuid, identity.name)

    def get_by_uuid(self, uuid: bytes, name: str = "") -> E:
        """Return the object of a UUID that a client gave; the name is for the error.

        Raises:
            VirError: as `find`.
        """
        obj = self._by_uuid.get(uuid)
        if obj is None or not obj.is_listed:
            which = f"with matching uuid '{UUID(bytes=uuid)}'"
            raise self.object_type.no_such(f"{which} ({name})" if name else which)
        return obj

    def get_by_name(self, name: str) -> E:
        """Return the object of a name.

        Raises:
            VirError: as `find`.
        """
        obj = self.by_name(name)
        if obj is None or not obj.is_listed:
            raise self.object_type.no_such(f"with matching name '{name}'")
        return obj

    def object_for(self, name: str, uuid: bytes) -> E:
        """Return the object of this name and UUID; a new one, not yet added, when both are free.

        Raises:
            VirError: OPERATION_FAILED: one of them belongs to another object.
        """
        return self.match_or_conflict(name, uuid) or self.make(name, uuid)

    def make(self, name: str, uuid: bytes) -> E:
        """Make an object without adding it."""
        return self._make(self.object_type, name, uuid)

    def rename(self, obj: E, name: str) -> None:
        """Give an object another name, which is free."""
        self._by_name.pop(obj.name, None)
        obj.name = obj.change_lock.name = name
        self._by_name[name] = obj

    def match_or_conflict(self, name: str, uuid: bytes) -> E | None:
        """Return the object of this name and UUID; None when both are free.

        Raises:
            VirError: OPERATION_FAILED: one of them belongs to another object.
        """
        type_name = self.object_type.name
        same_uuid = self._by_uuid.get(uuid)
        if same_uuid is not None and same_uuid.name != name:
            taken = same_uuid.uuid_text
            detail = f"{type_name} '{same_uuid.name}' is already defined with uuid {taken}"
            raise self.object_type.conflict(detail)
        same_name = self.by_name(name)
        if same_name is not None and same_name.uuid != uuid:
            detail = f"{type_name} '{name}' already exists with uuid {same_name.uuid_text}"
            raise self.object_type.conflict(detail)
        return same_uuid
