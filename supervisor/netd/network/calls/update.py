"""virNetworkUpdate: changes one section, live, in the definition, or both.

Owns: `network_update`; it takes the network's job. The live change comes first, so that a
definition never has what the active network could not apply.
May touch: definitions and running networks, each through its own module.
"""

from __future__ import annotations

from typing import Final

from conf.errors import ConfError
from conf.network import Network, update_network
from rpc.enums import NetworkUpdateFlags
from rpc.errors import ErrorDomain
from rpc.values import Network as NetworkId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.network.networks import Networks
from supervisor.netd.network.registry import NetworkDefinitions, NetworkRegistry
from supervisor.objects.impact import select_for_change

UPDATE_FLAGS: Final = NetworkUpdateFlags.LIVE | NetworkUpdateFlags.CONFIG


class UpdateCalls:
    """The call."""

    def __init__(
        self, registry: NetworkRegistry, definitions: NetworkDefinitions, networks: Networks
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._networks = networks

    async def network_update(
        self,
        call: ClientCall,
        net: NetworkId,
        command: int,
        section: int,
        parent_index: int,
        xml: str,
        flags: int,
    ) -> None:
        """Change one section of the active network, the definition, or both.

        Raises:
            VirError: OPERATION_INVALID: the entry cannot be added, changed or removed; also for a
                network that is off or transient; XML_ERROR.
        """
        NETWORK_ERRORS.check_flags("networkUpdate", flags, int(UPDATE_FLAGS))
        obj = self._registry.find(net)
        async with obj.change_lock.hold("update"):
            live, config = (
                apply_update(network, command, section, parent_index, xml) if network else None
                for network in select_for_change(obj, flags)
            )
            if live is not None:
                await self._networks.update(obj, live)
            if config is not None:
                await self._definitions.replace(obj, config)


def apply_update(
    network: Network, command: int, section: int, parent_index: int, xml: str
) -> Network:
    """Return a copy of a network with a section changed.

    Raises:
        VirError: OPERATION_INVALID, INVALID_ARG, XML_ERROR, CONFIG_UNSUPPORTED.
    """
    try:
        return update_network(network, command, section, parent_index, xml)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NETWORK) from error
