"""Queries of checkpoints of domains that have none.

Owns: one method per procedure, named as in the table. May touch: the registry; metadata files, to
see whether there are any.
Source: libvirt 9.0, virDomainListAllCheckpoints and its siblings.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainCheckpointListFlags
from rpc.errors import ErrorCode, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainCheckpoint
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.domain import DomainObject
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.registry import DomainRegistry

CHECKPOINT_FILTERS: Final = sum(DomainCheckpointListFlags)


class CheckpointCalls:
    """The queries; a domain with metadata of a stock daemon's is refused, not called empty."""

    def __init__(self, registry: DomainRegistry, files: DomainFiles) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._files = files

    def domain_list_all_checkpoints(
        self, call: ClientCall, dom: DomainId, need_results: int, flags: int
    ) -> tuple[list[DomainCheckpoint], int]:
        """Return no checkpoints."""
        self._errors.check_flags("DomainListAllCheckpoints", flags, CHECKPOINT_FILTERS)
        self._find(dom)
        return [], 0

    def domain_checkpoint_lookup_by_name(
        self, call: ClientCall, dom: DomainId, name: str, flags: int
    ) -> DomainCheckpoint:
        """Refuse the lookup of a checkpoint.

        Raises:
            VirError: NO_DOMAIN_CHECKPOINT.
        """
        self._errors.check_flags("DomainCheckpointLookupByName", flags)
        self._find(dom)
        detail = f"no domain checkpoint with matching name '{name}'"
        raise VirError(ErrorCode.NO_DOMAIN_CHECKPOINT, detail, self._errors.domain)

    def _find(self, dom: DomainId) -> DomainObject:
        """Find a domain without checkpoints.

        Raises:
            VirError: NO_DOMAIN; OPERATION_UNSUPPORTED: a stock daemon has left metadata of some.
        """
        domain = self._registry.find(dom)
        if self._files.has_checkpoints(domain):
            raise self._errors.operation_unsupported(
                f"domain '{domain.name}' has checkpoints, which this daemon does not read yet"
            )
        return domain
