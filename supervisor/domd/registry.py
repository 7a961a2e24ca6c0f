"""The registry of domains, by name, UUID and id.

Owns: what it has beside `supervisor.objects.registry`: ids, and the type of domains.
May not touch: files, the bus.
"""

from __future__ import annotations

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.domain import DomainObject
from supervisor.drivers.driver import Driver
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry


def domain_type(driver: Driver) -> ObjectType:
    """Return the type of a driver's domains."""
    return ObjectType(
        name="domain",
        long_name="domain",
        edit_command="edit",
        not_found=ErrorCode.NO_DOMAIN,
        errors=driver.errors,
        conf_errors=ServiceErrors(ErrorDomain.DOMAIN),
        not_active_text="domain is not running; start '{name}' first",
        transient_text="transient domains do not have any persistent config: '{name}'",
    )


class DomainRegistry(Registry[DomainObject]):
    """The domains of one driver."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(domain_type(driver), DomainObject)
        self.changes = 0  # counts domains added and removed

    def add(self, obj: DomainObject) -> None:
        """Add a domain whose name and UUID are free."""
        if self.by_uuid(obj.uuid) is None:
            self.changes += 1
        super().add(obj)

    def remove(self, obj: DomainObject) -> None:
        """Remove a domain."""
        self.changes += 1
        super().remove(obj)

    def get_by_id(self, domain_id: int) -> DomainObject:
        """Return the running domain with this id.

        Raises:
            VirError: NO_DOMAIN.
        """
        for domain in self._by_uuid.values():
            if domain.id == domain_id >= 0:
                return domain
        raise self.object_type.no_such(f"with matching id {domain_id}")


def refuse_block_jobs(domain: DomainObject) -> None:
    """Refuse a domain with a block job.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if domain.runtime is not None and domain.runtime.status.has_block_jobs:
        raise domain.errors.operation_invalid("domain has active block job")


def not_running(domain: DomainObject) -> VirError:
    """OPERATION_INVALID: the call needs a running guest."""
    return domain.object_type.not_active(domain.name)
