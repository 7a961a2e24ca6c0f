"""<protocol>: IP configuration of a host interface.

Source: libvirt 9.0, the XML of host interfaces (netcf's format).
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.errors import ConfError
from conf.interface.attributes import number
from conf.mapper import attribute, child, children, element, flag
from conf.network.attributes import parsed_address
from conf.types.bool import yes_no
from conf.types.ip_address import Address

BITS = {"ipv4": 32, "ipv6": 128}


def protocol_family(text: str) -> str:
    """Parse a protocol family.

    Raises:
        ConfError: "xml": there is no such family.
    """
    if text not in BITS:
        raise ConfError("xml", f"unsupported protocol family '{text}'", "interface/protocol")
    return text


@element("dhcp")
@dataclass(slots=True, kw_only=True)
class DhcpClient:
    """<dhcp>: configure by DHCP; `peerdns`: use its name servers."""

    peerdns: bool | None = attribute("@peerdns", read=yes_no)


@element("ip")
@dataclass(slots=True, kw_only=True)
class InterfaceIp:
    """<ip>: an address; without a prefix it is a host address."""

    address: Address = attribute("@address", read=parsed_address, required=True)
    prefix: int | None = attribute("@prefix", read=number("prefix of <ip>", range(129)))

    @property
    def length(self) -> int:
        """Return the prefix length."""
        return self.address.max_prefixlen if self.prefix is None else self.prefix


@element("protocol")
@dataclass(slots=True, kw_only=True)
class Protocol:
    """<protocol>: the configuration of one family."""

    family: str | None = attribute("@family", read=protocol_family)
    autoconf: bool = flag("autoconf")  # IPv6: from router advertisements
    dhcp: DhcpClient | None = child("dhcp", DhcpClient)
    addresses: list[InterfaceIp] = children("ip", InterfaceIp)
    gateway: Address | None = attribute("route/@gateway", read=parsed_address)

    def after_read(self) -> None:
        """Refuse addresses of another family.

        Raises:
            ConfError: "xml".
        """
        if self.family is None:
            raise ConfError("xml", "protocol misses the family attribute", "interface/protocol")
        if self.autoconf and self.family == "ipv4":
            raise ConfError("xml", "<autoconf/> is of family 'ipv6' only", "interface/protocol")
        for ip in self.addresses:
            self._check_family(ip.address, "<ip>")
            if ip.length > BITS[self.family]:
                detail = f"prefix {ip.length} of address '{ip.address}' is longer than its family's"
                raise ConfError("xml", f"{detail} {BITS[self.family]}", "interface/protocol/ip")
        if self.gateway is not None:
            self._check_family(self.gateway, "<route>")

    def _check_family(self, address: Address, where: str) -> None:
        if self.family != f"ipv{address.version}":
            detail = f"'{address}' in {where} is no address of family '{self.family}'"
            raise ConfError("xml", detail, "interface/protocol")
