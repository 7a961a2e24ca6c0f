"""<ip>, <dhcp> and <route> of a network.

Source: libvirt 9.0 formatnetwork, "Addressing" and "Static Routes".
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from conf.mapper import attribute, child, children, element
from conf.network.attributes import Subnet, prefix_of, socket_address
from conf.network.attributes import address as read_address
from conf.network.attributes import netmask as read_netmask
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import positive, unsigned_of
from conf.types.ip_route import destination


@element("lease")
@dataclass(slots=True, kw_only=True)
class LeaseTime:
    """<lease>: duration; 0: infinite."""

    expiry: int | None = attribute("@expiry", read=unsigned_of(64))
    unit: str | None = attribute("@unit", read=one_of("seconds", "minutes", "hours"))

    def after_read(self) -> None:
        """Fill in the unit."""
        self.unit = (self.unit or "minutes") if self.expiry else None


@element("range")
@dataclass(slots=True, kw_only=True)
class DhcpRange:
    """<range>: dynamic addresses."""

    start: str = attribute("@start", read=socket_address, required=True)
    end: str = attribute("@end", read=socket_address, required=True)
    leases: list[LeaseTime] = children("lease", LeaseTime)

    def after_read(self) -> None:
        """Keep the lease that counts."""
        self.leases = _last_lease(self.leases)

    @property
    def lease(self) -> LeaseTime | None:
        """Return the duration; None: dnsmasq's default."""
        return self.leases[0] if self.leases else None


@element("host")
@dataclass(slots=True, kw_only=True)
class DhcpHost:
    """<host>: a DHCP reservation."""

    mac: str | None = attribute("@mac")
    id: str | None = attribute("@id")
    name: str | None = attribute("@name")
    ip: str | None = attribute("@ip", read=read_address)
    leases: list[LeaseTime] = children("lease", LeaseTime)

    def after_read(self) -> None:
        """Keep the lease that counts."""
        self.leases = _last_lease(self.leases)

    @property
    def lease(self) -> LeaseTime | None:
        """Return the duration; None: dnsmasq's default."""
        return self.leases[0] if self.leases else None


def _last_lease(leases: list[LeaseTime]) -> list[LeaseTime]:
    """Return the last lease that has a duration: libvirt overwrites one with the next."""
    return [lease for lease in leases if lease.expiry is not None][-1:]


@element("dhcp")
@dataclass(slots=True, kw_only=True)
class Dhcp:
    """<dhcp>."""

    ranges: list[DhcpRange] = children("range", DhcpRange)
    hosts: list[DhcpHost] = children("host", DhcpHost)
    bootp_file: str | None = attribute("bootp/@file")
    bootp_server: str | None = attribute("bootp/@server", read=socket_address)

    def after_read(self) -> None:
        """Drop a <bootp> without a file."""
        if self.bootp_file is None:
            self.bootp_file = self.bootp_server = None


@element("ip")
@dataclass(slots=True, kw_only=True)
class Ip:
    """<ip>: a subnet and the host's address in it."""

    family: str | None = attribute("@family", empty_is_absent=True)
    address: str = attribute("@address", read=read_address, required=True)
    netmask: str | None = attribute("@netmask", read=read_netmask, empty_is_absent=True)
    prefix: int | None = attribute("@prefix", read=unsigned_of(32))
    local_ptr: bool | None = attribute("@localPtr", read=yes_no)
    tftp_root: str | None = attribute("tftp/@root", empty_is_absent=True, first=True)
    dhcp: Dhcp | None = child("dhcp", Dhcp)

    def after_read(self) -> None:
        """Drop empty elements, as libvirt does; TFTP and BOOTP are for IPv4 only."""
        self.prefix = self.prefix or None
        if self.dhcp is not None and not self.dhcp.ranges and not self.dhcp.hosts:
            self.dhcp = None
        if self.dhcp is not None and self.version == 6:
            self.dhcp.bootp_file = self.dhcp.bootp_server = None

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return ip_address(self.address).version

    @property
    def network(self) -> Subnet:
        """Return the subnet."""
        prefix = prefix_of(ip_address(self.address), self.prefix, self.netmask)
        return ip_network(f"{self.address}/{prefix}", strict=False)


@element("route")
@dataclass(slots=True, kw_only=True)
class Route:
    """<route>: a static route through a guest."""

    family: str | None = attribute("@family", empty_is_absent=True)
    address: str = attribute("@address", read=read_address, required=True)
    netmask: str | None = attribute("@netmask", read=read_netmask, empty_is_absent=True)
    prefix: int | None = attribute("@prefix", read=unsigned_of(32))
    gateway: str | None = attribute("@gateway", read=read_address)
    metric: int | None = attribute("@metric", read=positive)

    @property
    def network(self) -> Subnet:
        """Return the destination; without a prefix it is the default route."""
        return destination(self)
