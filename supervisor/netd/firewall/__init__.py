"""The host's packet filter: what a virtual network needs of it.

Owns: chains named LIBVIRT_… of iptables and ip6tables; nftables' table `inet libvirt_network`.
May touch: those. May not touch: bridges, addresses, other people's rules.
"""

from supervisor.netd.firewall.choice import choose
from supervisor.netd.firewall.facts import ForwardMode, NatRange, NetworkFacts, Subnet
from supervisor.netd.firewall.firewall import Firewall

__all__ = ["Firewall", "ForwardMode", "NatRange", "NetworkFacts", "Subnet", "choose"]
