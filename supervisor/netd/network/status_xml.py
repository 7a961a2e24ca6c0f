"""The status file of an active network, <networkstatus>. Pure.

Owns: <networkstatus>. Source: libvirt 9.0's run/libvirt/network/NAME.xml.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.network import Network, format_network, parse_network
from conf.types.cpuset import format_cpuset
from supervisor.netd.network.network import NetworkRuntime

STARTING = " starting='yes'"  # the mark of a start that has not ended
RESERVED_CLASSES = range(3)  # of a bridge's traffic: none, all, and those without a floor


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What a status file says."""

    network: Network
    starting: bool  # its start has not ended: the next netd undoes it


def format_status(running: NetworkRuntime, *, starting: bool = False) -> str:
    """Format the status.

    Args:
        running: the network.
        starting: its start has not ended. libvirt has no such mark: it writes the status last, and
            a transient network whose start is killed leaves its bridge.
    """
    bitmap = format_cpuset({*RESERVED_CLASSES, *running.classes})
    text = format_network(running.network, inactive=False)
    inner = "".join(f"  {line}\n" for line in text.splitlines())
    return (
        f"<networkstatus{STARTING if starting else ''}>\n"
        f"  <class_id bitmap='{bitmap}'/>\n"
        f"  <floor sum='{running.floor_sum}'/>\n"
        f"{inner}</networkstatus>\n"
    )


def parse_status(text: str) -> NetworkStatus:
    """Parse the status.

    Raises:
        ConfError: it is no status, or the network in it is none.
    """
    root = parse_tree(text)
    network = root.find("network") if root.tag == "networkstatus" else None
    if network is None:
        raise ConfError("xml", "the status has no <network>")
    model = parse_network(etree.tostring(network, encoding="unicode", with_tail=False))
    return NetworkStatus(model, starting=root.get("starting") == "yes")
