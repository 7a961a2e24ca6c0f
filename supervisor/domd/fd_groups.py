"""Groups of descriptors that clients have associated with domains (virDomainFDAssociate).

Owns: the groups: whose they are, how many, that they end with their client's connection. May touch:
the descriptors, to copy and close them.

A group lives as long as the connection that made it and this process: descriptors are in no file,
so a new domd knows of none. A guest that was started with them has its own copies.
Source: libvirt 9.0, virDomainFDAssociate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.fd_group import FdGroup

MOST: Final = 512  # descriptors of a client: this process has a limit of its own
NAMED: Final = re.compile(r"\bfdgroup=")


@dataclass(frozen=True, slots=True)
class FdGroups:
    """The groups of all domains."""

    domains: Iterable[DomainObject]  # the registry

    def associate(
        self, domain: DomainObject, name: str, client: str, descriptors: list[Descriptor]
    ) -> None:
        """Associate descriptors with a domain, in place of a former group of that name.

        Raises:
            VirError: INVALID_ARG: there is none; OPERATION_FAILED: the client has too many.
        """
        if not descriptors:
            detail = "nfds in virDomainFDAssociate must not be zero"
            raise VirError(ErrorCode.INVALID_ARG, detail, domain.errors.domain)
        former = domain.fd_groups.get(name)
        freed = len(former.descriptors) if former and former.client == client else 0
        if self._count(client) - freed + len(descriptors) > MOST:
            detail = f"this connection has associated {MOST} file descriptors: close it or some"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, domain.errors.domain)
        domain.fd_groups[name] = FdGroup(client, descriptors)
        if former is not None:
            former.close()

    def _count(self, client: str) -> int:
        return sum(
            len(group.descriptors)
            for domain in self.domains
            for group in domain.fd_groups.values()
            if group.client == client
        )

    def client_closed(self, client: str) -> None:
        """Close the groups of a client whose connection has ended; "": of all clients."""
        for domain in self.domains:
            for name, group in list(domain.fd_groups.items()):
                if client in ("", group.client):
                    del domain.fd_groups[name]
                    group.close()


def copies(domain: DomainObject, xml: str) -> dict[str, list[Descriptor]]:
    """Copy the groups of a domain for its worker, if a document names any group.

    Raises:
        VirError: OPERATION_FAILED: there are no descriptors left.
    """
    if not domain.fd_groups or not NAMED.search(xml):
        return {}
    try:
        return {
            name: [Descriptor(os.dup(each.fileno())) for each in group.descriptors]
            for name, group in domain.fd_groups.items()
        }
    except OSError as error:
        detail = f"failed to duplicate file descriptor for fd group: {error.strerror}"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, domain.errors.domain) from error
