"""The status file of an active network, <networkstatus>. Pure.

Owns: that document, <networkstatus>. Source: libvirt 9.0's run/libvirt/network/NAME.xml.
"""

from __future__ import annotations

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.network import Network, format_network, parse_network
from conf.types.cpuset import format_cpuset
from supervisor.netd.network.network import NetworkRuntime

RESERVED_CLASSES = range(3)  # of a bridge's traffic: none, all, and those without a floor


def format_status(running: NetworkRuntime) -> str:
    """Format the status."""
    bitmap = format_cpuset({*RESERVED_CLASSES, *running.classes.values()})
    document = format_network(running.network, inactive=False)
    inner = "".join(f"  {line}\n" for line in document.splitlines())
    return (
        "<networkstatus>\n"
        f"  <class_id bitmap='{bitmap}'/>\n"
        f"  <floor sum='{running.floor_sum}'/>\n"
        f"{inner}</networkstatus>\n"
    )


def parse_status(text: str) -> Network:
    """Parse the status.

    Raises:
        ConfError: it is no status, or the network in it is none.
    """
    root = parse_tree(text)
    network = root.find("network") if root.tag == "networkstatus" else None
    if network is None:
        raise ConfError("xml", "the status has no <network>")
    return parse_network(etree.tostring(network, encoding="unicode", with_tail=False))
