"""<sound>: the guest's sound card.

Source: libvirt 9.0 formatdomain, "Sound devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import VirtioDriver
from conf.mapper import Refusal, attribute, child, children, element
from conf.types.enum import one_of
from conf.types.integer import uint

MODELS = one_of("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "ich7")


@element("codec")
@dataclass(slots=True, kw_only=True)
class SoundCodec:
    """<codec>."""

    type: str = attribute(
        "@type",
        read=one_of("duplex", "micro", "output", unknown="unknown codec type '{}'"),
        default="",
        required=Refusal("config_unsupported", "unknown codec type '(null)'"),
    )


@element("sound")
@dataclass(slots=True, kw_only=True)
class Sound:
    """<sound>."""

    model: str = attribute("@model", read=MODELS, default="", required=True)
    codecs: list[SoundCodec] = children("codec", SoundCodec)
    audio_id: int | None = attribute("audio/@id", read=uint, required=True)
    driver: VirtioDriver | None = child("driver", VirtioDriver)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    def after_read(self) -> None:
        """Drop the codecs of cards other than Intel HDA, which have none."""
        if self.model not in ("ich6", "ich9"):
            self.codecs = []
