"""Which attributes each protocol of a rule has, in libvirt's output order.

Owns: that table. Pure.
Source: libvirt 9.0 formatnwfilter, "Supported protocols"; corpus/nwfilter.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conf.nwfilter import kinds
from conf.nwfilter.kinds import Kind

Attributes = Mapping[str, Kind]

_SOURCE: Final[Attributes] = {"srcmacaddr": kinds.mac, "srcmacmask": kinds.mac}
_ETHER: Final[Attributes] = {**_SOURCE, "dstmacaddr": kinds.mac, "dstmacmask": kinds.mac}
_COMMENT: Final[Attributes] = {"comment": kinds.comment}
_PORTS: Final[Attributes] = {
    "srcportstart": kinds.U16,
    "srcportend": kinds.U16,
    "dstportstart": kinds.U16,
    "dstportend": kinds.U16,
}
_ARP: Final[Attributes] = {
    **_ETHER,
    "hwtype": kinds.U16,
    "protocoltype": kinds.U16,
    "opcode": kinds.ARP_OPERATION,
    "arpsrcmacaddr": kinds.mac,
    "arpdstmacaddr": kinds.mac,
    "arpsrcipaddr": kinds.ipv4,
    "arpsrcipmask": kinds.mask4,
    "arpdstipaddr": kinds.ipv4,
    "arpdstipmask": kinds.mask4,
    "gratuitous": kinds.truth,
    **_COMMENT,
}


def _range(name: str, kind: Kind) -> Attributes:
    return {name: kind, f"{name}-hi": kind}


_STP: Final[Attributes] = {
    **_SOURCE,
    "type": kinds.U8,
    "flags": kinds.U8,
    **_range("root-priority", kinds.U16),
    "root-address": kinds.mac,
    "root-address-mask": kinds.mac,
    **_range("root-cost", kinds.U32),
    **_range("sender-priority", kinds.U16),
    "sender-address": kinds.mac,
    "sender-address-mask": kinds.mac,
    **_range("port", kinds.U16),
    **_range("age", kinds.U16),
    **_range("max-age", kinds.U16),
    **_range("hello-time", kinds.U16),
    **_range("forward-delay", kinds.U16),
    **_COMMENT,
}


def _addresses(address: Kind, mask: Kind) -> Attributes:
    return {
        "srcipaddr": address,
        "srcipmask": mask,
        "dstipaddr": address,
        "dstipmask": mask,
    }


def _inet(address: Kind, mask: Kind, own: Attributes | None = None) -> Attributes:
    """A rule on packets: matched by iptables or ip6tables."""
    return {
        "srcmacaddr": kinds.mac,
        **_addresses(address, mask),
        "srcipfrom": address,
        "srcipto": address,
        "dstipfrom": address,
        "dstipto": address,
        "dscp": kinds.DSCP,
        "state": kinds.states,
        **(own or {}),
        "connlimit-above": kinds.U16,
        "ipset": kinds.ipset,
        "ipsetflags": kinds.ipset_flags,
        **_COMMENT,
    }


_TCP: Final[Attributes] = {**_PORTS, "option": kinds.U8, "flags": kinds.tcp_flags}
_ICMP: Final[Attributes] = {"type": kinds.U8, "code": kinds.U8}
_OWN: Final[Mapping[str, Attributes]] = {
    "tcp": _TCP,
    "udp": _PORTS,
    "sctp": _PORTS,
    "udplite": {},
    "esp": {},
    "ah": {},
    "all": {},
}

PROTOCOLS: Final[Mapping[str, Attributes]] = {
    "mac": {**_ETHER, "protocolid": kinds.ETHER_TYPE, **_COMMENT},
    "vlan": {**_ETHER, "vlanid": kinds.VLAN, "encap-protocol": kinds.ETHER_TYPE, **_COMMENT},
    "stp": _STP,
    "arp": _ARP,
    "rarp": _ARP,
    "ip": {
        **_ETHER,
        **_addresses(kinds.ipv4, kinds.mask4),
        "protocol": kinds.IP_PROTOCOL,
        **_PORTS,
        "dscp": kinds.DSCP,
        **_COMMENT,
    },
    "ipv6": {
        **_ETHER,
        **_addresses(kinds.ipv6, kinds.mask6),
        "protocol": kinds.IP_PROTOCOL,
        **_PORTS,
        "type": kinds.U8,
        "typeend": kinds.U8,
        "code": kinds.U8,
        "codeend": kinds.U8,
        **_COMMENT,
    },
    **{name: _inet(kinds.ipv4, kinds.mask4, own) for name, own in _OWN.items()},
    **{f"{name}-ipv6": _inet(kinds.ipv6, kinds.mask6, own) for name, own in _OWN.items()},
    "icmp": _inet(kinds.ipv4, kinds.mask4, _ICMP),
    "icmpv6": _inet(kinds.ipv6, kinds.mask6, _ICMP),
    "igmp": _inet(kinds.ipv4, kinds.mask4),
}
