"""One group of descriptors that a client has associated with a domain.

Owns: the descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipc import Descriptor


@dataclass(frozen=True, slots=True)
class FdGroup:
    """The descriptors, and the connection with which they end."""

    client: str
    descriptors: list[Descriptor]

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            descriptor.close()
