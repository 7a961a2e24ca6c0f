"""<ip> and <route> of an <interface> or a <hostdev>.

Source: libvirt 9.0 formatdomain, "IP configuration".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.errors import ConfError
from conf.mapper import Refusal, attribute, element
from conf.types.integer import uint, uint_positive
from conf.types.ip_address import any_form, usual_form
from conf.types.ip_route import BITS


def _prefix(text: str) -> int:
    """Read the length of a prefix.

    Raises:
        ConfError: "xml": it is no number, or none that any address can have.
    """
    try:
        length = uint(text)
    except ValueError:
        length = max(BITS.values()) + 1
    if length > max(BITS.values()):
        raise ConfError("xml", f"Invalid prefix value '{text}' in <ip>", "ip/@prefix")
    return length


@element("ip")
@dataclass(slots=True, kw_only=True)
class Ip:
    """<ip>: an address that the guest's side of a device gets."""

    address: str = attribute(
        "@address", default="", required=Refusal("xml", "Missing required address in <ip>")
    )
    family: str | None = attribute("@family")
    prefix: int | None = attribute("@prefix", read=_prefix)
    peer: str | None = attribute("@peer")

    def after_read(self) -> None:
        """Write addresses in their usual form, and fill in the family.

        Raises:
            ConfError: "xml", "invalid_arg": an address is none of the family.
        """
        family = self.family if self.family in ("ipv4", "ipv6") else None
        self.address, self.family = _usual("xml", "address", self.address, family)
        if self.peer is not None:
            self.peer, _ = _usual("invalid_arg", "peer", self.peer, self.family)
        bits = BITS[4 if self.family == "ipv4" else 6]
        if self.prefix is not None and self.prefix > bits:
            raise ConfError("xml", f"Invalid prefix value '{self.prefix}' in <ip>", "ip/@prefix")
        self.prefix = self.prefix or None


def _usual(kind: str, name: str, text: str, family: str | None) -> tuple[str, str]:
    """Return an address in its usual form, and its family.

    Raises:
        ConfError: it is none, or of another family.
    """
    try:
        address = any_form(text)
    except ValueError:
        address = None
    if address is None or family not in (None, f"ipv{address.version}"):
        raise ConfError(kind, f"Invalid {name} '{text}' in <ip>", f"ip/@{name}")
    return usual_form(address), f"ipv{address.version}"


@element("route")
@dataclass(slots=True, kw_only=True)
class Route:
    """<route>: a static route of the guest's; `conf.types.ip_route` checks it."""

    family: str | None = attribute("@family")
    address: str | None = attribute("@address")
    netmask: str | None = attribute("@netmask")
    prefix: int | None = attribute("@prefix", read=uint)
    gateway: str | None = attribute("@gateway")
    metric: int | None = attribute("@metric", read=uint_positive)

    def after_read(self) -> None:
        """Write addresses in their usual form."""
        self.address = _usual_or_as_it_is(self.address)
        self.netmask = _usual_or_as_it_is(self.netmask)
        self.gateway = _usual_or_as_it_is(self.gateway)


def _usual_or_as_it_is(text: str | None) -> str | None:
    """Return an address in its usual form; what is none is refused later, with its own words."""
    try:
        return usual_form(any_form(text or ""))
    except ValueError:
        return text
