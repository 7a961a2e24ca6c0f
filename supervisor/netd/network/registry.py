"""The type of networks, their XML, and their registry.

Owns: these descriptions; `supervisor.objects` does the work.
May not touch: files, links, the bus.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from conf.network import Network, format_network, parse_network
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.network.network import NetworkObject
from supervisor.objects.definition_files import DefinitionFiles
from supervisor.objects.definition_xml import DefinitionXml, Identity
from supervisor.objects.definitions import Definitions
from supervisor.objects.object_type import ObjectType
from supervisor.objects.registry import Registry

NETWORKS: Final = ObjectType(
    name="network",
    long_name="network",
    edit_command="net-edit",
    not_found=ErrorCode.NO_NETWORK,
    errors=NETWORK_ERRORS,
    conf_errors=NETWORK_ERRORS,
)
NETWORK_XML: Final = DefinitionXml(
    parse=parse_network,
    format=lambda network: format_network(network, inactive=True),
    identity=lambda network: Identity.of_texts(network.name, network.uuid),
)
NetworkRegistry: TypeAlias = Registry[NetworkObject]
NetworkDefinitions: TypeAlias = Definitions[NetworkObject, Network]


def network_registry() -> NetworkRegistry:
    """Make the registry of a daemon's networks."""
    return Registry(NETWORKS, NetworkObject)


def network_definitions(
    registry: NetworkRegistry, files: DefinitionFiles, publisher: Publisher
) -> NetworkDefinitions:
    """Make the definitions of a daemon's networks."""
    return Definitions(registry, files, NETWORK_XML, publisher)


def not_active(obj: NetworkObject) -> VirError:
    """OPERATION_INVALID: the call needs an active network."""
    return NETWORKS.not_active(obj.name)
