"""<input>: mice, tablets, keyboards.

Source: libvirt 9.0 formatdomain, "Input devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lxml import etree

from conf.domain.devices.address import ADDRESSES, Address, by_user
from conf.domain.devices.virtio import VirtioDriver
from conf.errors import ConfError
from conf.mapper import Refusal, attribute, child, element
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of

#: The attribute of <source> that the types with one have.
SOURCES: Final = {"evdev": "dev", "passthrough": "evdev"}


@element("input")
@dataclass(slots=True, kw_only=True)
class Input:
    """<input>."""

    type: str = attribute(
        "@type",
        read=one_of(
            "mouse",
            "tablet",
            "keyboard",
            "passthrough",
            "evdev",
            unknown="unknown input device type '{}'",
        ),
        default="",
        required=Refusal("internal", "missing input device type"),
    )
    bus: str | None = attribute(
        "@bus",
        read=one_of(
            "ps2",
            "usb",
            "xen",
            "parallels",
            "virtio",
            "none",
            unknown="unknown input bus type '{}'",
        ),
        omit="none",
    )
    model: str | None = attribute("@model")
    driver: VirtioDriver | None = child("driver", VirtioDriver)
    source_dev: str | None = attribute("source/@dev")
    source_evdev: str | None = attribute("source/@evdev")
    source_grab: str | None = attribute("source/@grab", read=one_of("all"))
    source_grab_toggle: str | None = attribute(
        "source/@grabToggle",
        read=one_of(
            "ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"
        ),
    )
    source_repeat: bool | None = attribute("source/@repeat", read=on_off, write=write_on_off)
    alias: str | None = attribute("alias/@name", only="live", always=by_user)
    address: Address | None = child("address", ADDRESSES)
    boot_order: int | None = None

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Check that a <source> names the host's device.

        Raises:
            ConfError: "xml".
        """
        source, name = node.find("source"), SOURCES.get(node.get("type", ""))
        if source is not None and name is not None and source.get(name) is None:
            raise ConfError("xml", "Missing evdev path for input device", "input/source")

    def after_read(self) -> None:
        """Keep the <source> attribute that the type has."""
        if self.type != "passthrough":
            self.source_evdev = None
