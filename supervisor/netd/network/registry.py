"""Every network, found by name or UUID.

Owns: the words of refusals about networks; the table is `supervisor.objects.registry`'s.
May not touch: files, links, the bus.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.network.network import NetworkObject
from supervisor.objects import registry
from supervisor.objects.object_type import ObjectType

NETWORKS: Final = ObjectType(
    name="network",
    long_name="network",
    edit_command="net-edit",
    not_found=ErrorCode.NO_NETWORK,
    errors=NETWORK_ERRORS,
    conf_errors=NETWORK_ERRORS,
)


class NetworkRegistry(registry.Registry[NetworkObject]):
    """The networks of one daemon."""

    def __init__(self) -> None:
        """Know none."""
        super().__init__(NETWORKS)


def not_active(entry: NetworkObject) -> VirError:
    """OPERATION_INVALID: the call needs a network that runs."""
    return NETWORKS.not_active(entry.name)
