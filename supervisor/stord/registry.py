"""Every pool, found by name, UUID or path; every volume of those that are active.

Owns: the table of pools. May not touch: files, the bus.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from uuid import UUID

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import StoragePool as PoolId
from rpc.values import StorageVol as VolumeId
from supervisor.stord.entry import Active, Entry
from supervisor.stord.facts import VolumeFacts
from supervisor.stord.words import invalid


class Registry:
    """The pools of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        self._by_uuid: dict[bytes, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Every pool that is there."""
        return iter([entry for entry in self._by_uuid.values() if entry.is_there])

    def add(self, entry: Entry) -> None:
        """Know a pool whose name and UUID are free."""
        assert self._by_uuid.get(entry.uuid, entry) is entry, "two pools of one UUID"
        self._by_uuid[entry.uuid] = entry

    def remove(self, entry: Entry) -> None:
        """Forget a pool."""
        if self._by_uuid.get(entry.uuid) is entry:
            del self._by_uuid[entry.uuid]

    def by_name(self, name: str) -> Entry | None:
        """The pool of that name, even if it is only being created."""
        return next((entry for entry in self._by_uuid.values() if entry.name == name), None)

    def find(self, identity: PoolId) -> Entry:
        """The pool that a client names; its UUID counts.

        Raises:
            VirError: NO_STORAGE_POOL.
        """
        entry = self._by_uuid.get(identity.uuid)
        if entry is None or not entry.is_there:
            which = f"with matching uuid '{UUID(bytes=identity.uuid)}'"
            raise no_pool(f"{which} ({identity.name})" if identity.name else which)
        return entry

    def named(self, name: str) -> Entry:
        """The pool of that name.

        Raises:
            VirError: NO_STORAGE_POOL.
        """
        entry = self.by_name(name)
        if entry is None or not entry.is_there:
            raise no_pool(f"with matching name '{name}'")
        return entry

    def at_path(self, path: str) -> Entry:
        """The active pool whose volumes appear at a path.

        Raises:
            VirError: NO_STORAGE_POOL.
        """
        wanted = os.path.normpath(path)
        for entry in self:
            if entry.active is not None and entry.current.path == wanted:
                return entry
        raise no_pool(f"with matching target path '{path}'")

    def claim(self, name: str, uuid: bytes) -> Entry | None:
        """The pool of this name and UUID; None when both are free.

        Raises:
            VirError: OPERATION_FAILED when one of them belongs to another pool.
        """
        same_uuid = self._by_uuid.get(uuid)
        if same_uuid is not None and same_uuid.name != name:
            detail = f"pool '{same_uuid.name}' is already defined with uuid {same_uuid.uuid_text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        same_name = self.by_name(name)
        if same_name is not None and same_name.uuid != uuid:
            detail = f"pool '{name}' already exists with uuid {same_name.uuid_text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.STORAGE)
        return same_uuid

    def active(self, identity: PoolId) -> tuple[Entry, Active]:
        """The pool that a client names, which is to be active.

        Raises:
            VirError: NO_STORAGE_POOL; OPERATION_INVALID.
        """
        entry = self.find(identity)
        return entry, active(entry)

    # Volumes.

    def volume(self, identity: VolumeId) -> tuple[Entry, Active, VolumeFacts]:
        """The volume that a client names; its pool's name and its own count.

        Raises:
            VirError: NO_STORAGE_POOL, NO_STORAGE_VOL; OPERATION_INVALID: the pool is off.
        """
        entry = self.named(identity.pool)
        now = active(entry)
        return entry, now, volume_named(now, identity.name)

    def by_key(self, key: str) -> VolumeId:
        """The volume of that key.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        for entry, volume in self._volumes():
            if volume.key == key:
                return entry.volume_identity(volume)
        raise no_volume(f"with matching key {key}")

    def by_path(self, path: str) -> VolumeId:
        """The volume at that path.

        Raises:
            VirError: NO_STORAGE_VOL.
        """
        wanted = os.path.normpath(path)
        for entry, volume in self._volumes():
            if volume.path in (path, wanted):
                return entry.volume_identity(volume)
        raise no_volume(f"with matching path '{path}'")

    def _volumes(self) -> Iterator[tuple[Entry, VolumeFacts]]:
        for entry in self:
            if entry.active is not None:
                for volume in entry.active.volumes.values():
                    yield entry, volume


def active(entry: Entry) -> Active:
    """What an active pool has.

    Raises:
        VirError: OPERATION_INVALID when it is off.
    """
    if entry.active is None:
        raise invalid(f"storage pool '{entry.name}' is not active")
    return entry.active


def volume_named(now: Active, name: str) -> VolumeFacts:
    """A pool's volume of that name.

    Raises:
        VirError: NO_STORAGE_VOL; OPERATION_INVALID when it is only being made.
    """
    volume = now.volumes.get(name)
    if volume is not None:
        return volume
    if name in now.making:
        raise invalid(f"volume '{name}' is still being allocated.")
    raise no_volume(f"with matching name '{name}'")


def no_pool(which: str) -> VirError:
    """NO_STORAGE_POOL: there is none such."""
    return VirError(ErrorCode.NO_STORAGE_POOL, f"no storage pool {which}", ErrorDomain.STORAGE)


def no_volume(which: str) -> VirError:
    """NO_STORAGE_VOL: there is none such."""
    return VirError(ErrorCode.NO_STORAGE_VOL, f"no storage vol {which}", ErrorDomain.STORAGE)
