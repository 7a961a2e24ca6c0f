"""virDomainFDAssociate: gives a domain open files by a name, for <source fdgroup=>.

Owns: one method per procedure, named as in the table. May touch: the groups.
Source: libvirt 9.0, virDomainFDAssociate.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainFDAssociateFlags as Flags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.fd_groups import FdGroups
from supervisor.domd.registry import DomainRegistry

SUPPORTED: Final = Flags.RESTORE | Flags.WRITABLE


class FdGroupCalls:
    """The descriptors that clients pass for domains' disks."""

    def __init__(self, registry: DomainRegistry, errors: ServiceErrors) -> None:
        self._registry = registry
        self._groups = FdGroups(registry)
        self._errors = errors

    async def domain_fd_associate(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> None:
        """Associate the descriptors that came with the call with the domain, as a group.

        The flags say what becomes of security labels; descriptors have none here, as with libvirt's
        security driver "dac".

        Raises:
            VirError: NO_DOMAIN; INVALID_ARG: no descriptor came; OPERATION_FAILED: too many.
        """
        self._errors.check_flags("DomainFDAssociate", flags, SUPPORTED)
        descriptors, call.descriptors[:] = list(call.descriptors), []
        self._groups.associate(self._registry.find(dom), name, call.client.id, descriptors)
