"""Plans what an <interface> is attached to: a bridge, or a device of the host. Pure.

Owns: that decision, and the live <interface> and <networkport> that result.
May not touch: the host.
Source: libvirt 9.0 formatdomain, "Virtual network", "Bridge to LAN", "Direct attachment".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Final
from uuid import UUID

from conf.domain.devices.interface import Interface, InterfaceSource
from conf.network import ForwardMode, Network, NetworkPort, Plug, PortGroup, port_bandwidth
from conf.types.bandwidth import Bandwidth
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.network.plan import makes_bridge, mode_of

TAP_PREFIX: Final = "vnet"
MACVTAP_PREFIX: Final = "macvtap"
#: Modes of macvtap that share the host's device between guests.
DIRECT: Final = {
    ForwardMode.BRIDGE: "bridge",
    ForwardMode.PRIVATE: "private",
    ForwardMode.VEPA: "vepa",
    ForwardMode.PASSTHROUGH: "passthrough",
}
TAP_DEVICE: Final = "/dev/net/tun"
VHOST_DEVICE: Final = "/dev/vhost-net"
VIRTUAL_SWITCHES: Final = ("openvswitch", "midonet")
#: The parameters that a type of virtual port has; others of a merged one count for other types.
PARAMETERS: Final = {
    "openvswitch": ("interfaceid", "profileid"),
    "midonet": ("interfaceid",),
}


@dataclass(frozen=True, slots=True)
class PortPlan:
    """The attachment of an interface."""

    kind: str  # "network" or "bridge": a tap that is the bridge's port; "ethernet": a tap; "direct"
    bridge: str = ""
    device: str = ""  # the host's, of a macvtap
    mode: str = ""  # of a macvtap
    learns: bool = True  # False: netd maintains the forwarding database
    bandwidth: Bandwidth | None = None
    isolated: bool = False
    mtu: int = 0  # of the network; 0: the bridge's
    vlan: Vlan | None = None
    virtualport: VirtualPort | None = None
    trusted: bool | None = None  # whether the guest's changes of its MAC address are followed
    group: str = ""

    @property
    def is_direct(self) -> bool:
        """Return whether a macvtap or macvlan is used."""
        return self.kind == "direct"

    @property
    def is_switched(self) -> bool:
        """Return whether the tap is the port of a switch that has programs of its own."""
        return self.virtualport is not None and self.virtualport.type in VIRTUAL_SWITCHES

    @property
    def prefix(self) -> str:
        """Return the prefix of generated device names."""
        return MACVTAP_PREFIX if self.is_direct else TAP_PREFIX


def plan_interface(interface: Interface) -> PortPlan:
    """Plan the attachment of an <interface> that names no network.

    Raises:
        VirError: CONFIG_UNSUPPORTED, XML_ERROR.
    """
    source = interface.source or InterfaceSource()
    common = PortPlan(
        kind=interface.type,
        bandwidth=interface.bandwidth,
        isolated=bool(interface.port_isolated),
        vlan=interface.vlan,
        virtualport=interface.virtualport,
        trusted=interface.trust_guest_rx_filters,
    )
    match interface.type:
        case "bridge":
            plan = replace(common, bridge=source.bridge or "")
        case "ethernet":
            plan = common
        case "direct":
            plan = replace(common, device=source.dev or "", mode=source.mode or "vepa")
        case other:
            raise unsupported(f"interface type '{other}' is not attached by the network driver")
    check_supported(interface, plan)
    return plan


def plan_attach(interface: Interface, network: Network, used: dict[str, int]) -> PortPlan:
    """Plan the attachment of an <interface type='network'>.

    Args:
        interface: the guest's.
        network: the network that it names, as it runs.
        used: number of this network's interfaces on each device of the host.

    Raises:
        VirError: CONFIG_UNSUPPORTED, INTERNAL_ERROR when no device is free.
    """
    source = interface.source or InterfaceSource()
    group = choose_group(network, source.portgroup)
    mode = mode_of(network)
    common = PortPlan(
        kind="network",
        bandwidth=interface.bandwidth or (group.bandwidth if group else None),
        isolated=bool(_first(interface.port_isolated, network.port_isolated)),
        mtu=network.mtu or 0,
        vlan=interface.vlan or (group.vlan if group else None) or network.vlan,
        virtualport=merge_virtual_ports(
            (interface.virtualport, group.virtualport if group else None, network.virtualport)
        ),
        trusted=_first(
            interface.trust_guest_rx_filters,
            group.trust_guest_rx_filters if group else None,
            network.trust_guest_rx_filters,
        ),
        group=group.name if group else "",
    )
    bridge = network.bridge.name or "" if network.bridge is not None else ""
    if makes_bridge(network):
        learns = network.bridge is None or network.bridge.mac_table_manager != "libvirt"
        plan = replace(common, bridge=bridge, learns=learns)
    elif mode is ForwardMode.BRIDGE and bridge:
        plan = replace(common, kind="bridge", bridge=bridge)
    elif mode in DIRECT:
        device = choose_device(network, used, alone=mode is ForwardMode.PASSTHROUGH)
        plan = replace(common, kind="direct", device=device, mode=DIRECT[mode])
    else:
        detail = (
            f"network '{network.name}' has forward mode '{mode}', whose devices cannot be given to "
            "guests yet; use a network with mode 'bridge', 'nat' or 'route'"
        )
        raise unsupported(detail)
    check_supported(interface, plan)
    return plan


def merge_virtual_ports(ports: Iterable[VirtualPort | None]) -> VirtualPort | None:
    """Merge what an interface, its portgroup and its network say of its port: the first counts.

    Raises:
        VirError: CONFIG_UNSUPPORTED: they name different types.
    """
    present = [port for port in ports if port is not None]
    if not present:
        return None
    types = list(dict.fromkeys(port.type for port in present if port.type is not None))
    if len(types) > 1:
        raise unsupported(
            f"attempt to merge virtualports with mismatched types ({types[0]} and {types[1]})"
        )
    merged = VirtualPort(type=types[0] if types else None)
    for place in fields(VirtualPort):
        if place.name in PARAMETERS.get(merged.type or "", (place.name,)):
            values = (getattr(port, place.name) for port in present)
            found = next((value for value in values if value is not None), None)
            setattr(merged, place.name, getattr(merged, place.name) or found)
    return merged


def _first(*values: bool | None) -> bool | None:
    return next((value for value in values if value is not None), None)


def check_supported(interface: Interface, plan: PortPlan) -> None:
    """Refuse settings that would otherwise have no effect.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    port = plan.virtualport
    if port is not None and port.type in VIRTUAL_SWITCHES:
        _check_switched(interface, plan, port)
    if port is not None and plan.is_direct and port.type in ("802.1Qbg", "802.1Qbh"):
        raise unsupported(
            f"<virtualport type='{port.type}'> needs lldpad, which this daemon does not drive; "
            "leave <virtualport> out"
        )
    tagged = plan.vlan is not None and bool(plan.vlan.tags)
    if tagged and not (port is not None and port.type == "openvswitch"):
        raise unsupported(
            "an interface of this type has no <vlan> tag: that takes Open vSwitch or a hostdev; "
            "use a bridge above a VLAN device of the host instead"
        )
    _check_settings(interface, plan)


def _check_switched(interface: Interface, plan: PortPlan, port: VirtualPort) -> None:
    """Refuse what a port of Open vSwitch or MidoNet cannot be."""
    begin = f"<virtualport type='{port.type}'> not supported for"
    if plan.kind != "bridge":
        kind = "network which uses IP forwarding" if plan.kind == "network" else plan.kind
        raise unsupported(f"{begin} an interface of type '{kind}'")
    if interface.filterref is not None:
        raise unsupported(
            f"interface {interface.mac} - filterref is not supported for network interfaces with "
            f"virtualport type {port.type}"
        )
    check_limits(replace(interface, virtualport=port), plan.bandwidth)


def check_limits(interface: Interface, bandwidth: Bandwidth | None) -> None:
    """Refuse limits of a port whose traffic its switch shapes.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    port = interface.virtualport
    if bandwidth is not None and port is not None and port.type in VIRTUAL_SWITCHES:
        raise unsupported(
            f"<bandwidth> of interface {interface.mac} cannot be set on a switch of type "
            f"{port.type}; set it there, or leave it out"
        )


def _check_settings(interface: Interface, plan: PortPlan) -> None:
    inbound = plan.bandwidth.inbound if plan.bandwidth is not None else None
    if inbound is not None and inbound.floor and plan.kind != "network":
        raise unsupported(
            f"Invalid use of 'floor' on interface with MAC address {interface.mac} - 'floor' is "
            "only supported for interface type 'network' with forward type 'nat', 'route', 'open' "
            "or none"
        )
    if interface.coalesce is not None:
        raise unsupported("<coalesce> of an interface cannot be set; leave it out")
    if interface.backend_tap not in (None, TAP_DEVICE):
        raise unsupported(f"<backend tap='{interface.backend_tap}'>: taps are made by {TAP_DEVICE}")
    if interface.backend_vhost not in (None, VHOST_DEVICE):
        raise unsupported(
            f"<backend vhost='{interface.backend_vhost}'>: only {VHOST_DEVICE} is used"
        )


def choose_group(network: Network, name: str | None) -> PortGroup | None:
    """Return the port group of that name, or the network's default one.

    Raises:
        VirError: XML_ERROR when there is no group of that name.
    """
    if not name:
        return next((group for group in network.portgroups if group.default), None)
    group_found = next((group for group in network.portgroups if group.name == name), None)
    if group_found is None:
        detail = f"network '{network.name}' has no portgroup '{name}'"
        raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.NETWORK)
    return group_found


def choose_device(network: Network, used: dict[str, int], *, alone: bool) -> str:
    """Choose the device of a direct network with the fewest interfaces; the first of those.

    Raises:
        VirError: INTERNAL_ERROR: there is none, or none is free.
    """
    devices = [interface.dev for interface in network.forward.interfaces] if network.forward else []
    if not devices:
        detail = f"network '{network.name}' uses a direct mode, but has no forward dev"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
    least = min(devices, key=lambda device: used.get(device, 0))
    if alone and used.get(least, 0):
        detail = (
            f"network '{network.name}' requires exclusive access to interfaces, but none are "
            "available"
        )
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
    return least


def live_interface(interface: Interface, plan: PortPlan, device: str, port: str) -> Interface:
    """Build the running domain's <interface>.

    Args:
        interface: as it was asked for.
        plan: of its attachment.
        device: the name of the tap or macvtap.
        port: the port's UUID; "": no network's.
    """
    source = replace(interface.source) if interface.source is not None else InterfaceSource()
    if interface.type == "network":
        source.portid = port or None
        source.bridge = plan.bridge or None
        if plan.is_direct:
            source.dev, source.mode = plan.device, plan.mode
    kind = plan.kind if interface.type == "network" else interface.type
    return replace(
        interface,
        type=kind,
        source=source if interface.type != "ethernet" else interface.source,
        target_dev=device,
        bandwidth=plan.bandwidth,
        virtualport=plan.virtualport,
        vlan=plan.vlan,
    )


def describe_port(
    interface: Interface, plan: PortPlan, uuid: UUID, domain: str, owner: str
) -> NetworkPort:
    """Build the <networkport> of an interface."""
    plug = Plug(type=plan.kind)
    if plan.is_direct:
        plug.dev, plug.mode = plan.device, plan.mode
    else:
        plug.bridge = plan.bridge
        if plan.kind == "network":
            plug.mac_table_manager = "kernel" if plan.learns else "libvirt"
    return NetworkPort(
        uuid=str(uuid),
        owner_name=domain,
        owner_uuid=owner,
        group=plan.group or None,
        mac=interface.mac,
        virtualport=plan.virtualport,
        bandwidth=port_bandwidth(plan.bandwidth),
        vlan=plan.vlan,
        port_isolated=plan.isolated or None,
        rx_filters_trusted=plan.trusted,
        plug=plug,
    )


def unsupported(detail: str) -> VirError:
    """CONFIG_UNSUPPORTED."""
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
