"""virNetwork calls that define, start and stop networks.

Owns: one method per procedure, named as in the table; each takes the network's job.
May touch: definitions and running networks, each through its own module. May not touch: links.
"""

from __future__ import annotations

from conf.network import Network
from rpc.enums import (
    NetworkCreateFlags,
    NetworkDefineFlags,
)
from rpc.values import Network as NetworkId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.network.definition_builder import DefinitionBuilder
from supervisor.netd.network.networks import Networks
from supervisor.netd.network.registry import NetworkDefinitions, NetworkRegistry


class LifecycleCalls:
    """The calls."""

    def __init__(
        self,
        registry: NetworkRegistry,
        builder: DefinitionBuilder,
        definitions: NetworkDefinitions,
        networks: Networks,
    ) -> None:
        self._registry = registry
        self._builder = builder
        self._definitions = definitions
        self._networks = networks

    # Definitions.

    async def network_define_xml(self, call: ClientCall, xml: str) -> NetworkId:
        """Define or redefine a network."""
        return await self.network_define_xml_flags(call, xml, 0)

    async def network_define_xml_flags(self, call: ClientCall, xml: str, flags: int) -> NetworkId:
        """Define or redefine a network; an active one does not change.

        Raises:
            VirError: OPERATION_FAILED: another network has the name or UUID; those of the parser.
        """
        NETWORK_ERRORS.check_flags("networkDefineXMLFlags", flags, NetworkDefineFlags.VALIDATE)
        await require_valid(xml, "network.rng", Network, flags & NetworkDefineFlags.VALIDATE)
        network = await self._builder.build(xml)
        return (await self._definitions.define(network)).identity

    async def network_undefine(self, call: ClientCall, net: NetworkId) -> None:
        """Delete a network's definition; an active one becomes transient.

        Raises:
            VirError: OPERATION_INVALID for a transient network.
        """
        obj = self._registry.find(net)
        async with obj.change_lock.hold("undefine"):
            if obj.definition is None:
                raise NETWORK_ERRORS.operation_invalid(
                    f"can't undefine transient network '{obj.name}'"
                )
            network = obj.definition
            await self._definitions.undefine(obj)
            if not obj.is_active:
                await self._networks.forget_guests(network)

    async def network_set_autostart(self, call: ClientCall, net: NetworkId, autostart: int) -> None:
        """Set whether the network starts with the host.

        Raises:
            VirError: OPERATION_INVALID for a transient network.
        """
        obj = self._registry.find(net)
        async with obj.change_lock.hold("autostart"):
            if obj.definition is None:
                raise NETWORK_ERRORS.operation_invalid("cannot set autostart for transient network")
            await self._definitions.set_autostart(obj, on=bool(autostart))

    # Running.

    async def network_create(self, call: ClientCall, net: NetworkId) -> None:
        """Start a defined network.

        Raises:
            VirError: OPERATION_INVALID when it runs; those of starting.
        """
        obj = self._registry.find(net)
        async with obj.change_lock.hold("start"):
            if obj.definition is None:
                raise NETWORK_ERRORS.operation_invalid("network is already active")
            await self._networks.start(obj, obj.definition)

    async def network_create_xml(self, call: ClientCall, xml: str) -> NetworkId:
        """Start a transient network, or a defined one with other XML."""
        return await self.network_create_xml_flags(call, xml, 0)

    async def network_create_xml_flags(self, call: ClientCall, xml: str, flags: int) -> NetworkId:
        """Start a transient network, or a defined one with other XML.

        Raises:
            VirError: OPERATION_INVALID when it runs; those of defining and starting.
        """
        NETWORK_ERRORS.check_flags("networkCreateXMLFlags", flags, NetworkCreateFlags.VALIDATE)
        await require_valid(xml, "network.rng", Network, flags & NetworkCreateFlags.VALIDATE)
        network = await self._builder.build(xml)
        async with self._definitions.creating(network) as obj:
            if obj.is_active:
                detail = f"network is already active as '{obj.name}'"
                raise NETWORK_ERRORS.operation_invalid(detail)
            await self._networks.start(obj, network)
        return obj.identity

    async def network_destroy(self, call: ClientCall, net: NetworkId) -> None:
        """Stop a network; guests stay, disconnected.

        Raises:
            VirError: OPERATION_INVALID when it is off.
        """
        obj = self._registry.find(net)
        async with obj.change_lock.hold("destroy"):
            await self._networks.stop(obj)
