"""What is kept: its words, and the codes of refusals about it.

Owns: that description. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from rpc.errors import ErrorCode, ErrorDomain, VirError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that clients define."""

    word: str  # "network"
    long_word: str  # as refusals of unknown ones have it: "storage pool"
    edit: str  # virsh's command that changes a definition
    missing: ErrorCode  # there is none such
    domain: ErrorDomain  # of refusals about one
    table: ErrorDomain  # of refusals of a name or UUID that is another's

    def no_such(self, which: str) -> VirError:
        """The refusal of one that is not there."""
        return VirError(self.missing, f"no {self.long_word} {which}", self.domain)
