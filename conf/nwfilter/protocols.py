"""The attributes of each protocol of a rule, in libvirt's output order. Pure.

Owns: that table. Pure.
Source: libvirt 9.0 formatnwfilter, "Supported protocols"; corpus/nwfilter.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conf.nwfilter import attribute_types
from conf.nwfilter.attribute_types import AttributeType

Attributes = Mapping[str, AttributeType]

_SOURCE: Final[Attributes] = {"srcmacaddr": attribute_types.mac, "srcmacmask": attribute_types.mac}
_ETHER: Final[Attributes] = {
    **_SOURCE,
    "dstmacaddr": attribute_types.mac,
    "dstmacmask": attribute_types.mac,
}
_COMMENT: Final[Attributes] = {"comment": attribute_types.comment}
_PORTS: Final[Attributes] = {
    "srcportstart": attribute_types.U16,
    "srcportend": attribute_types.U16,
    "dstportstart": attribute_types.U16,
    "dstportend": attribute_types.U16,
}
_ARP: Final[Attributes] = {
    **_ETHER,
    "hwtype": attribute_types.U16,
    "protocoltype": attribute_types.U16,
    "opcode": attribute_types.ARP_OPERATION,
    "arpsrcmacaddr": attribute_types.mac,
    "arpdstmacaddr": attribute_types.mac,
    "arpsrcipaddr": attribute_types.ipv4,
    "arpsrcipmask": attribute_types.mask4,
    "arpdstipaddr": attribute_types.ipv4,
    "arpdstipmask": attribute_types.mask4,
    "gratuitous": attribute_types.truth,
    **_COMMENT,
}


def _range(name: str, kind: AttributeType) -> Attributes:
    return {name: kind, f"{name}-hi": kind}


_STP: Final[Attributes] = {
    **_SOURCE,
    "type": attribute_types.U8,
    "flags": attribute_types.U8,
    **_range("root-priority", attribute_types.U16),
    "root-address": attribute_types.mac,
    "root-address-mask": attribute_types.mac,
    **_range("root-cost", attribute_types.U32),
    **_range("sender-priority", attribute_types.U16),
    "sender-address": attribute_types.mac,
    "sender-address-mask": attribute_types.mac,
    **_range("port", attribute_types.U16),
    **_range("age", attribute_types.U16),
    **_range("max-age", attribute_types.U16),
    **_range("hello-time", attribute_types.U16),
    **_range("forward-delay", attribute_types.U16),
    **_COMMENT,
}


def _addresses(address: AttributeType, mask: AttributeType) -> Attributes:
    return {
        "srcipaddr": address,
        "srcipmask": mask,
        "dstipaddr": address,
        "dstipmask": mask,
    }


def _inet(
    address: AttributeType, mask: AttributeType, extra: Attributes | None = None
) -> Attributes:
    """Return the attributes of a rule for iptables or ip6tables."""
    return {
        "srcmacaddr": attribute_types.mac,
        **_addresses(address, mask),
        "srcipfrom": address,
        "srcipto": address,
        "dstipfrom": address,
        "dstipto": address,
        "dscp": attribute_types.DSCP,
        "state": attribute_types.states,
        **(extra or {}),
        "connlimit-above": attribute_types.U16,
        "ipset": attribute_types.ipset,
        "ipsetflags": attribute_types.ipset_flags,
        **_COMMENT,
    }


_TCP: Final[Attributes] = {
    **_PORTS,
    "option": attribute_types.U8,
    "flags": attribute_types.tcp_flags,
}
_ICMP: Final[Attributes] = {"type": attribute_types.U8, "code": attribute_types.U8}
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
    "mac": {**_ETHER, "protocolid": attribute_types.ETHER_TYPE, **_COMMENT},
    "vlan": {
        **_ETHER,
        "vlanid": attribute_types.VLAN,
        "encap-protocol": attribute_types.ETHER_TYPE,
        **_COMMENT,
    },
    "stp": _STP,
    "arp": _ARP,
    "rarp": _ARP,
    "ip": {
        **_ETHER,
        **_addresses(attribute_types.ipv4, attribute_types.mask4),
        "protocol": attribute_types.IP_PROTOCOL,
        **_PORTS,
        "dscp": attribute_types.DSCP,
        **_COMMENT,
    },
    "ipv6": {
        **_ETHER,
        **_addresses(attribute_types.ipv6, attribute_types.mask6),
        "protocol": attribute_types.IP_PROTOCOL,
        **_PORTS,
        "type": attribute_types.U8,
        "typeend": attribute_types.U8,
        "code": attribute_types.U8,
        "codeend": attribute_types.U8,
        **_COMMENT,
    },
    **{name: _inet(attribute_types.ipv4, attribute_types.mask4, own) for name, own in _OWN.items()},
    **{
        f"{name}-ipv6": _inet(attribute_types.ipv6, attribute_types.mask6, own)
        for name, own in _OWN.items()
    },
    "icmp": _inet(attribute_types.ipv4, attribute_types.mask4, _ICMP),
    "icmpv6": _inet(attribute_types.ipv6, attribute_types.mask6, _ICMP),
    "igmp": _inet(attribute_types.ipv4, attribute_types.mask4),
}
