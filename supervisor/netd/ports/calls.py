"""virNetworkPort calls: ports that other libvirt daemons create and list.

Owns: one method per procedure, named as in the table. Ports of our workers are created by
`supervisor.netd.ports.ports`; ports that clients create have no device here.
May touch: ports of active networks.
Source: libvirt 9.0 virNetworkPort*.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4

from conf.domain.devices.interface import Interface, InterfaceSource, Mac
from conf.errors import ConfError
from conf.network import NetworkPort, format_port, parse_port
from conf.types.bandwidth import Bandwidth, Rate
from rpc.enums import NetworkPortCreateFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import UInt, declared, params, read_params
from rpc.values import Network as NetworkId
from rpc.values import NetworkPort as PortId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.network.network import NetworkObject, NetworkRuntime
from supervisor.netd.network.registry import NetworkRegistry, not_active
from supervisor.netd.ports.network_ports import NetworkPorts
from supervisor.netd.ports.plan import describe_port, plan_attach
from supervisor.netd.ports.ports import Ports

CREATE_FLAGS: Final = int(NetworkPortCreateFlags.RECLAIM | NetworkPortCreateFlags.VALIDATE)
FIELDS: Final = ("average", "peak", "floor", "burst")
#: The parameters of a port's bandwidth; what it may send has no floor.
LIMITS: Final = tuple(
    (way, field)
    for way in ("inbound", "outbound")
    for field in FIELDS
    if (way, field) != ("outbound", "floor")
)


class PortCalls:
    """The calls."""

    def __init__(
        self, registry: NetworkRegistry, network_ports: NetworkPorts, ports: Ports
    ) -> None:
        self._registry = registry
        self._network_ports = network_ports
        self._ports = ports

    def network_list_all_ports(
        self, call: ClientCall, network: NetworkId, need_results: int, flags: int
    ) -> tuple[list[PortId], int]:
        """List the ports of a network.

        Raises:
            VirError: OPERATION_INVALID: the network is inactive.
        """
        NETWORK_ERRORS.check_flags("networkListAllPorts", flags)
        obj = self._registry.find(network)
        ports = [PortId(obj.identity, uuid) for uuid in active(obj).ports]
        return ports if need_results else [], len(ports)

    def network_port_lookup_by_uuid(
        self, call: ClientCall, network: NetworkId, uuid: bytes
    ) -> PortId:
        """Look up a port by UUID.

        Raises:
            VirError: NO_NETWORK_PORT.
        """
        obj = self._registry.find(network)
        find_port(obj, uuid)
        return PortId(obj.identity, uuid)

    def network_port_get_xml_desc(self, call: ClientCall, port: PortId, flags: int) -> str:
        """Return a port's XML."""
        NETWORK_ERRORS.check_flags("networkPortGetXMLDesc", flags)
        return format_port(find_port(self._registry.find(port.net), port.uuid)[1])

    async def network_port_create_xml(
        self, call: ClientCall, network: NetworkId, xml: str, flags: int
    ) -> PortId:
        """Create a port and allocate the device or bridge that it is attached to.

        Raises:
            VirError: OPERATION_INVALID: the network is inactive; NETWORK_PORT_EXIST.
        """
        NETWORK_ERRORS.check_flags("networkPortCreateXML", flags, CREATE_FLAGS)
        validate = flags & NetworkPortCreateFlags.VALIDATE
        await require_valid(xml, "networkport.rng", NetworkPort, validate)
        request = read(xml)
        obj = self._registry.find(network)
        async with obj.change_lock.hold("create a port"):
            running = active(obj)
            uuid = UUID(request.uuid) if request.uuid else uuid4()
            if uuid.bytes in running.ports:
                detail = f"network '{obj.name}' has a port {uuid} already"
                raise VirError(ErrorCode.NETWORK_PORT_EXIST, detail, ErrorDomain.NETWORK)
            interface = interface_of(request, obj)
            plan = plan_attach(interface, running.network, self._network_ports.device_users(obj))
            owner, owner_uuid = request.owner_name or "", request.owner_uuid or ""
            port = describe_port(interface, plan, uuid, owner, owner_uuid)
            await self._network_ports.add(obj, uuid, port)
        return PortId(obj.identity, uuid.bytes)

    async def network_port_delete(self, call: ClientCall, port: PortId, flags: int) -> None:
        """Delete a port.

        Raises:
            VirError: NO_NETWORK_PORT.
        """
        NETWORK_ERRORS.check_flags("networkPortDelete", flags)
        obj = self._registry.find(port.net)
        async with obj.change_lock.hold("delete a port"):
            find_port(obj, port.uuid)
            await self._network_ports.delete(obj, UUID(bytes=port.uuid))

    def network_port_get_parameters(
        self, call: ClientCall, port: PortId, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return a port's bandwidth limits."""
        NETWORK_ERRORS.check_flags("networkPortGetParameters", flags)
        bandwidth = find_port(self._registry.find(port.net), port.uuid)[1].bandwidth
        values = params(
            {
                f"{direction}.{field}": UInt(getattr(rate, field) or 0)
                for direction, rate in directions(bandwidth)
                if rate is not None
                for field in FIELDS
                if (direction, field) in LIMITS
            }
        )
        return (values if nparams else []), len(values)

    async def network_port_set_parameters(
        self, call: ClientCall, port: PortId, params: list[TypedParam], flags: int
    ) -> None:
        """Set a port's bandwidth limits, on its device too if a guest of ours has it.

        Raises:
            VirError: INVALID_ARG, NO_NETWORK_PORT.
        """
        NETWORK_ERRORS.check_flags("networkPortSetParameters", flags)
        values = read_params(params, declared(*(".".join(limit) for limit in LIMITS)))
        obj = self._registry.find(port.net)
        async with obj.change_lock.hold("limit a port"):
            find_port(obj, port.uuid)
            bandwidth = Bandwidth(
                inbound=rate_of("inbound", values), outbound=rate_of("outbound", values)
            )
            uuid = UUID(bytes=port.uuid)
            await self._network_ports.limit(obj, uuid, bandwidth)
            await self._ports.limit_port(str(uuid), bandwidth)


def directions(bandwidth: Bandwidth | None) -> list[tuple[str, Rate | None]]:
    """Return both directions of a <bandwidth>."""
    if bandwidth is None:
        return []
    return [("inbound", bandwidth.inbound), ("outbound", bandwidth.outbound)]


def rate_of(direction: str, values: dict[str, list[int | float | str]]) -> Rate | None:
    """Build one direction from typed parameters; None: unlimited."""
    rates = {
        field: int(value[0])
        for field in FIELDS
        if (value := values.get(f"{direction}.{field}")) and int(value[0])
    }
    return Rate(**rates) if rates else None


def active(obj: NetworkObject) -> NetworkRuntime:
    """Return the runtime of an active network.

    Raises:
        VirError: OPERATION_INVALID.
    """
    if obj.runtime is None:
        raise not_active(obj)
    return obj.runtime


def find_port(obj: NetworkObject, uuid: bytes) -> tuple[NetworkRuntime, NetworkPort]:
    """Find a port of an active network.

    Raises:
        VirError: NO_NETWORK_PORT.
    """
    port = obj.runtime.ports.get(uuid) if obj.runtime is not None else None
    if obj.runtime is None or port is None:
        detail = f"network '{obj.name}' has no port with UUID {UUID(bytes=uuid)}"
        raise VirError(ErrorCode.NO_NETWORK_PORT, detail, ErrorDomain.NETWORK)
    return obj.runtime, port


def read(xml: str) -> NetworkPort:
    """Parse a <networkport>.

    Raises:
        VirError: XML_ERROR and the like.
    """
    try:
        return parse_port(xml)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NETWORK) from error


def interface_of(port: NetworkPort, obj: NetworkObject) -> Interface:
    """Build the interface that a client's port describes."""
    return Interface(
        type="network",
        mac_element=Mac(address=port.mac) if port.mac else None,
        source=InterfaceSource(network=obj.name, portgroup=port.group),
        bandwidth=port.bandwidth,
        virtualport=port.virtualport,
        vlan=port.vlan,
        port_isolated=port.port_isolated,
        trust_guest_rx_filters=port.rx_filters_trusted,
    )
