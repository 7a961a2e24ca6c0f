"""Every network, found by name or UUID.

Owns: the words of refusals about networks; the table is `supervisor.objects.registry`'s.
May not touch: files, links, the bus.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.network.network import Entry
from supervisor.objects import registry
from supervisor.objects.object_type import Kind

NETWORKS: Final = Kind(
    word="network",
    long_word="network",
    edit="net-edit",
    missing=ErrorCode.NO_NETWORK,
    domain=ErrorDomain.NETWORK,
    table=ErrorDomain.NETWORK,
)


class Registry(registry.Registry[Entry]):
    """The networks of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        super().__init__(NETWORKS)


def not_active(entry: Entry) -> VirError:
    """OPERATION_INVALID: the call needs a network that runs."""
    detail = f"network '{entry.name}' is not active"
    return VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NETWORK)
