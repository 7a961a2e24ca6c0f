"""Every domain, found by name, UUID or id.

Owns: the table of domains and the numbers of running guests.
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
        self._last_id = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._by_uuid.values()))

    def __len__(self) -> int:
        return len(self._by_uuid)

    def add(self, entry: Entry) -> None:
        """Know a domain whose name and UUID are free."""
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
        """The domain of that name."""
        return self._by_name.get(name)

    def by_uuid(self, uuid: bytes) -> Entry | None:
        """The domain of that UUID."""
        return self._by_uuid.get(uuid)

    def by_id(self, number: int) -> Entry | None:
        """The running domain of that number."""
        return next((entry for entry in self._by_uuid.values() if entry.id == number >= 0), None)

    def find(self, identity: DomainId) -> Entry:
        """The domain that a client names; its UUID counts.

        Raises:
            VirError: NO_DOMAIN.
        """
        entry = self._by_uuid.get(identity.uuid)
        if entry is None:
            raise no_domain(f"with matching uuid '{UUID(bytes=identity.uuid)}' ({identity.name})")
        return entry

    def next_id(self) -> int:
        """A number that no guest of this daemon has had since it was told of them."""
        self._last_id += 1
        return self._last_id

    def seen_id(self, number: int) -> None:
        """A guest has this number: later ones get higher ones."""
        self._last_id = max(self._last_id, number)


def no_domain(which: str) -> VirError:
    """NO_DOMAIN: there is none such."""
    return VirError(ErrorCode.NO_DOMAIN, f"no domain {which}", ErrorDomain.QEMU)


def not_running(entry: Entry) -> VirError:
    """OPERATION_INVALID: the call needs a running guest."""
    detail = f"domain is not running; start '{entry.name}' first"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)
