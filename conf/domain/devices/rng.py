"""<rng>: random bytes for the guest.

Source: libvirt 9.0 formatdomain, "Random number generator device".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.chardev import (
    ONE_LOG,
    ONE_PROTOCOL,
    PROTOCOLS,
    WITH_PROTOCOL,
    CharEnd,
    CharSource,
)
from conf.domain.devices.chardev import TYPES as CHAR_TYPES
from conf.domain.devices.virtio import VirtioDriver
from conf.errors import ConfError
from conf.mapper import attribute, child, children, element, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint


@element("rate")
@dataclass(slots=True, kw_only=True)
class RngRate:
    """<rate>: bytes in a period of milliseconds."""

    bytes: int = attribute("@bytes", read=uint, default=0, empty_is_absent=True)
    period: int | None = attribute("@period", read=uint, omit=0, empty_is_absent=True)


@element("backend")
@dataclass(slots=True, kw_only=True)
class RngBackend(CharSource):
    """<backend>: where random bytes come from."""

    model: str = attribute(
        "@model",
        read=one_of("random", "egd", "builtin", unknown="unknown RNG backend model '{}'"),
        default="",
        required=True,
    )
    type: str | None = attribute("@type", read=CHAR_TYPES)  # type: ignore[assignment]
    file: str | None = text(".", omit="")
    ends: list[CharEnd] = children("source", CharEnd)
    log_file: str | None = attribute("log/@file", single=ONE_LOG)
    log_append: bool | None = attribute("log/@append", read=on_off, write=write_on_off)
    protocol: str | None = attribute(
        "protocol/@type", read=PROTOCOLS, single=ONE_PROTOCOL, when=WITH_PROTOCOL
    )

    def after_read(self) -> None:
        """Keep what the model has.

        Source: libvirt 9.0 virDomainRNGDefParseXML.

        Raises:
            ConfError: "xml": the connection to the daemon is of no type.
        """
        if self.model != "random":
            self.file = None
        elif not self.file:
            self.file = "/dev/random"
        if self.model != "egd":
            self.type = self.log_file = self.log_append = self.protocol = None
        elif self.type is None:
            raise ConfError("xml", "missing EGD backend type", "rng/backend/@type")
        CharSource.after_read(self)

    @property
    def path(self) -> str | None:
        """The device that random bytes are read from."""
        return (self.file or "").strip() or None

    @property
    def source(self) -> CharSource:
        """The connection to an entropy daemon."""
        return self


@element("rng")
@dataclass(slots=True, kw_only=True)
class Rng:
    """<rng>."""

    model: str = attribute(
        "@model",
        read=one_of(
            "virtio",
            "virtio-transitional",
            "virtio-non-transitional",
            unknown="unknown RNG model '{}'",
        ),
        default="",
        required=True,
    )
    rate: RngRate | None = child("rate", RngRate, merge=True)
    backends: list[RngBackend] = children("backend", RngBackend)
    driver: VirtioDriver | None = child("driver", VirtioDriver)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Check that there is one backend; drop a rate of nothing.

        Raises:
            ConfError: "xml".
        """
        if len(self.backends) != 1:
            raise ConfError("xml", "only one RNG backend is supported", "rng/backend")
        if self.rate is not None and not self.rate.bytes:
            self.rate = None

    @property
    def backend(self) -> RngBackend:
        """The one backend."""
        return self.backends[0]
