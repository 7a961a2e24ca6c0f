"""The host firewall rules of virtual networks, in iptables or nftables.

Owns: chains named LIBVIRT_… of iptables and ip6tables; nftables' table `inet libvirt_network`.
May touch: those. May not touch: bridges, addresses, other people's rules.
"""

from supervisor.netd.firewall.backend_choice import select_firewall
from supervisor.netd.firewall.firewall import Firewall
from supervisor.netd.firewall.network_facts import ForwardMode, NatRange, NetworkFacts, Subnet

__all__ = ["Firewall", "ForwardMode", "NatRange", "NetworkFacts", "Subnet", "select_firewall"]
