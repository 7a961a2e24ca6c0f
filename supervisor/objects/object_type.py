"""What is kept: its words, and the codes of refusals about it.

Owns: that description. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A kind of thing that clients define."""

    name: str  # "network"
    long_name: str  # as refusals of unknown ones have it: "storage pool"
    edit: str  # virsh's command that changes a definition
    not_found: ErrorCode  # there is none such
    error_domain: ErrorDomain  # of refusals about one
    conflict_domain: ErrorDomain  # of refusals of a name or UUID that is another's

    def no_such(self, which: str) -> VirError:
        """The refusal of one that is not there."""
        return VirError(self.not_found, f"no {self.long_name} {which}", self.error_domain)
