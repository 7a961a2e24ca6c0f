"""<network> and <networkport>: models, parser, formatter, validation. Pure."""

from conf.network.addressing import Dhcp, DhcpHost, DhcpRange, Ip, LeaseTime, Route
from conf.network.dns import Dns, DnsHost, Forwarder, Srv, Txt
from conf.network.forward import Forward, ForwardMode, Nat
from conf.network.model import Bridge, DnsDomain, Network, PortGroup
from conf.network.network_xml import complete, format_network, mode_of, parse_network
from conf.network.ports import NetworkPort, Plug, format_port, parse_port, port_bandwidth
from conf.network.update import update_network
from conf.network.validate.network import validate

__all__ = [
    "Bridge",
    "Dhcp",
    "DhcpHost",
    "DhcpRange",
    "Dns",
    "DnsDomain",
    "DnsHost",
    "Forward",
    "ForwardMode",
    "Forwarder",
    "Ip",
    "LeaseTime",
    "Nat",
    "Network",
    "NetworkPort",
    "Plug",
    "PortGroup",
    "Route",
    "Srv",
    "Txt",
    "complete",
    "format_network",
    "format_port",
    "mode_of",
    "parse_network",
    "parse_port",
    "port_bandwidth",
    "update_network",
    "validate",
]
