"""Every domain, found by name, UUID or id.

Owns: what domains' table has beside any other (`supervisor.objects.registry`), the words of
refusals about domains. May not touch: files, the bus.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.domain import DomainObject
from supervisor.objects import registry
from supervisor.objects.object_type import ObjectType

DOMAINS: Final = ObjectType(
    name="domain",
    long_name="domain",
    edit="edit",
    not_found=ErrorCode.NO_DOMAIN,
    error_domain=ErrorDomain.QEMU,
    conflict_domain=ErrorDomain.DOMAIN,
)


class Registry(registry.Registry[DomainObject]):
    """The domains of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        super().__init__(DOMAINS)

    def rename(self, entry: DomainObject, name: str) -> None:
        """Know a domain by another name."""
        self._by_name.pop(entry.name, None)
        entry.name = entry.job.name = name
        self._by_name[name] = entry

    def numbered(self, number: int) -> DomainObject:
        """The running domain of that number.

        Raises:
            VirError: NO_DOMAIN.
        """
        for entry in self._by_uuid.values():
            if entry.id == number >= 0:
                return entry
        raise self.object_type.no_such(f"with matching id {number}")


def not_running(entry: DomainObject) -> VirError:
    """OPERATION_INVALID: the call needs a running guest."""
    detail = f"domain is not running; start '{entry.name}' first"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.DOMAIN)
