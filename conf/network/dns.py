"""<dns>: records and forwarders of a network's DNS server.

Source: libvirt 9.0 formatnetwork, "Addressing".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.mapper import attribute, children, element, texts
from conf.network.attributes import address, record_address
from conf.types.bool import yes_no
from conf.types.integer import unsigned


@element("forwarder")
@dataclass(slots=True, kw_only=True)
class Forwarder:
    """<forwarder>: an upstream server, for one domain or all."""

    domain: str | None = attribute("@domain")
    address: str | None = attribute("@addr", read=address)


@element("txt")
@dataclass(slots=True, kw_only=True)
class Txt:
    """<txt>: a TXT record."""

    name: str | None = attribute("@name")
    value: str | None = attribute("@value")


@element("srv")
@dataclass(slots=True, kw_only=True)
class Srv:
    """<srv>: a SRV record."""

    service: str | None = attribute("@service")
    protocol: str | None = attribute("@protocol")
    domain: str | None = attribute("@domain")
    target: str | None = attribute("@target")
    port: int | None = attribute("@port", read=unsigned, bad="xml_detail", empty_is_absent=True)
    priority: int | None = attribute(
        "@priority", read=unsigned, omit=0, bad="xml_detail", empty_is_absent=True
    )
    weight: int | None = attribute(
        "@weight", read=unsigned, omit=0, bad="xml_detail", empty_is_absent=True
    )


@element("host")
@dataclass(slots=True, kw_only=True)
class DnsHost:
    """<host>: the names of an address."""

    ip: str = attribute("@ip", read=record_address, default="")
    hostnames: list[str] = texts("hostname")

    def after_read(self) -> None:
        """Drop empty names."""
        self.hostnames = [name for name in self.hostnames if name]


@element("dns")
@dataclass(slots=True, kw_only=True)
class Dns:
    """<dns>."""

    enable: bool | None = attribute("@enable", read=yes_no)
    forward_plain_names: bool | None = attribute("@forwardPlainNames", read=yes_no)
    forwarders: list[Forwarder] = children("forwarder", Forwarder)
    txts: list[Txt] = children("txt", Txt)
    srvs: list[Srv] = children("srv", Srv)
    hosts: list[DnsHost] = children("host", DnsHost)
