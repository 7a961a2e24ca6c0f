"""<bandwidth>: rate limits of an interface or a network.

Source: libvirt 9.0 formatdomain, "Quality of service".
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from conf.errors import ConfError
from conf.mapper import attribute, child, element
from conf.types.integer import unsigned


@element("inbound")
@dataclass(slots=True, kw_only=True)
class Rate:
    """<inbound>, <outbound>: rates in KiB a second, `burst` in KiB."""

    average: int | None = attribute("@average", read=unsigned, bad="config_unsupported")
    peak: int | None = attribute("@peak", read=unsigned, omit=0, bad="config_unsupported")
    floor: int | None = attribute("@floor", read=unsigned, bad="config_unsupported")
    burst: int | None = attribute("@burst", read=unsigned, omit=0, bad="config_unsupported")


@element("bandwidth", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Bandwidth:
    """<bandwidth>; inbound is what the guest receives."""

    inbound: Rate | None = child("inbound", Rate)
    outbound: Rate | None = child("outbound", Rate)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Refuse repeated elements.

        Raises:
            ConfError: "xml_detail".
        """
        for tag in ("inbound", "outbound"):
            if len(node.findall(tag)) > 1:
                detail = f"Only one child <{tag}> element allowed"
                raise ConfError("xml_detail", detail, f"bandwidth/{tag}")

    def after_read(self) -> None:
        """Drop rates of nothing, which libvirt takes for none.

        Raises:
            ConfError: "xml_detail": a rate is not given.
        """
        for rate in (self.inbound, self.outbound):
            if rate is not None and rate.average is None and rate.floor is None:
                detail = "Missing mandatory average or floor attributes"
                raise ConfError("xml_detail", detail, "bandwidth")
        if self.inbound is not None and not (self.inbound.average or self.inbound.floor):
            self.inbound = None
        if self.outbound is not None and not self.outbound.average:
            self.outbound = None
