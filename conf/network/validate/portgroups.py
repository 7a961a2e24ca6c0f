"""Validates <portgroup>, <bandwidth>, <vlan> and <virtualport>. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.network.forward import ForwardMode
from conf.network.model import Network, PortGroup
from conf.network.network_xml import mode_of
from conf.network.validate.errors import dns_error, unsupported, xml_error
from conf.types.bandwidth import Bandwidth, Rate
from conf.types.integer import c_integer
from conf.types.repeats import first_repeated
from conf.types.uuid import parse_uuid
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan

LARGEST_TAG: Final = 4095
LONGEST_PROFILE: Final = 39
LARGEST_RATE: Final = 0xFFFFFFFFFFFFFFFF
#: The parameters that each type of port has, in the order in which they are looked at.
PARAMETERS: Final = {
    "802.1Qbg": ("managerid", "typeid", "typeidversion", "instanceid"),
    "802.1Qbh": ("profileid",),
    "openvswitch": ("interfaceid", "profileid"),
    "midonet": ("interfaceid",),
}
NUMBERS: Final = {"managerid": 0xFF, "typeid": 0xFFFFFF, "typeidversion": 0xFF}
UUIDS: Final = ("instanceid", "interfaceid")


def check_sharing(network: Network) -> None:
    """Validate settings of the network and its port groups.

    Raises:
        ConfError: "xml", "xml_detail", "config_unsupported".
    """
    groups = network.portgroups
    check_groups(network.name, groups)
    shared_by: list[Network | PortGroup] = [network, *groups]
    for shared in shared_by:
        check_bandwidth(shared.bandwidth)
        check_vlan(shared.vlan)
        check_virtualport(shared.virtualport)
    if network.virtualport is not None and not network.virtualport.type:
        raise xml_error("missing required virtualport type")


def check_tagging(network: Network) -> None:
    """Refuse VLAN tags where the host cannot tag the network's frames.

    Raises:
        ConfError: "config_unsupported".
    """
    groups = network.portgroups
    mode = mode_of(network)
    tagged = network.vlan is not None and not _can_tag(mode, network.virtualport)
    for group in groups:
        port = group.virtualport or network.virtualport
        tagged = tagged or (group.vlan is not None and not _can_tag(mode, port))
    if tagged:
        detail = f"<vlan> element specified for network {network.name}, whose type doesn't support"
        raise unsupported(f"{detail} vlan configuration")


def check_groups(name: str, groups: list[PortGroup]) -> None:
    """Refuse groups without a name, repeated names and several defaults.

    Raises:
        ConfError: "xml", "config_unsupported".
    """
    names = [group.name for group in groups]
    if "" in names:
        raise xml_error(f"Missing required name attribute in portgroup of network '{name}'")
    twice = first_repeated(names)
    if twice is not None:
        detail = f"multiple <portgroup> elements with the same name ({twice}) in network '{name}'"
        raise unsupported(detail)
    defaults = [group.name for group in groups if group.default]
    if len(defaults) > 1:
        detail = f"network '{name}' has multiple default <portgroup> elements"
        raise unsupported(f"{detail} ({' and '.join(defaults)}), but only one default is allowed")


def _can_tag(mode: ForwardMode, port: VirtualPort | None) -> bool:
    """Return whether the host can tag the network's frames."""
    switched = port is not None and port.type == "openvswitch"
    return mode is ForwardMode.HOSTDEV or (mode is ForwardMode.BRIDGE and switched)


def check_bandwidth(bandwidth: Bandwidth | None) -> None:
    """Validate bandwidth limits.

    Raises:
        ConfError: "xml_detail", "config_unsupported".
    """
    for where, rate in _rates(bandwidth):
        if rate.average is None and rate.floor is None:
            raise dns_error(f"Missing mandatory average or floor attributes of <{where}>")
        if rate.floor is not None:
            detail = "floor attribute is not supported for this config: set it in an <interface>"
            raise unsupported(detail)
        for field_name, number in (
            ("average", rate.average),
            ("peak", rate.peak),
            ("burst", rate.burst),
        ):
            if number is not None and number > LARGEST_RATE:
                raise unsupported(f"could not convert bandwidth {field_name} value '{number}'")


def _rates(bandwidth: Bandwidth | None) -> Iterator[tuple[str, Rate]]:
    if bandwidth is None:
        return
    for where, rate in (("inbound", bandwidth.inbound), ("outbound", bandwidth.outbound)):
        if rate is not None:
            yield where, rate


def check_vlan(vlan: Vlan | None) -> None:
    """Validate VLAN tags.

    Raises:
        ConfError: "xml".
    """
    if vlan is None:
        return
    if not vlan.tags:
        raise xml_error(
            "missing tag id - each <vlan> must have at least one <tag id='n'/> subelement"
        )
    large = next((tag.id for tag in vlan.tags if tag.id > LARGEST_TAG), None)
    if large is not None:
        raise xml_error(f"vlan tag id {large} too large (maximum {LARGEST_TAG})")
    native = [tag for tag in vlan.tags if tag.native_mode is not None]
    if len(native) > 1:
        raise xml_error("duplicate native vlan setting")
    if vlan.trunk is False and len(vlan.tags) > 1:
        detail = "trunk='yes' is required for more than one vlan tag"
        raise xml_error(f"invalid \"trunk='no'\" in <vlan> - {detail}")


def check_virtualport(port: VirtualPort | None) -> None:
    """Refuse unknown port types, and parameters that the type does not have.

    Raises:
        ConfError: "xml", "config_unsupported".
    """
    if port is None:
        return
    if port.type is not None and port.type not in PARAMETERS:
        detail = f"unknown virtualport type {port.type}; it can be {', '.join(PARAMETERS)}"
        raise unsupported(detail)
    for name in (*NUMBERS, *UUIDS, "profileid"):
        value = getattr(port, name)
        if value is None:
            continue
        _check_parameter(name, value)
        if port.type is not None and name not in PARAMETERS[port.type]:
            raise xml_error(f"extra {name} unsupported in <virtualport type='{port.type}'>")


def _check_parameter(name: str, value: str) -> None:
    try:
        if name in UUIDS:
            parse_uuid(value)
        elif name in NUMBERS and not 0 <= c_integer(value, 0) <= NUMBERS[name]:
            raise xml_error(f"value of {name} out of range: '{value}' is more than {NUMBERS[name]}")
        elif name == "profileid" and len(value.encode()) > LONGEST_PROFILE:
            raise xml_error(f"profileid parameter too long: at most {LONGEST_PROFILE} characters")
    except ValueError:
        raise xml_error(f"cannot parse value of {name} parameter '{value}'") from None
