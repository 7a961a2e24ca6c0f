"""The migratable XML: an inactive form that older versions of libvirt read, too.

Owns: what is left out of it. Pure.
Source: libvirt 9.0, qemuDomainDefFormatBufInternal (VIR_DOMAIN_XML_MIGRATABLE), measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain.devices.controller import Controller
from conf.domain.devices.devices import Devices
from conf.domain.devices.graphics_defaults import complete_audio
from conf.domain.domain_xml import format_domain
from conf.domain.model import Domain

IMPLICIT_USB: Final = (None, "piix3-uhci")


def format_migratable(domain: Domain) -> str:
    """Format a domain without ids, aliases, and the devices that every guest has anyway.

    Args:
        domain: a definition or a live domain; it is only read.
    """
    devices = replace(
        domain.devices,
        controllers=_without_implicit(domain.devices.controllers),
        inputs=[
            item
            for item in domain.devices.inputs
            if (item.type, item.bus) not in (("keyboard", "ps2"), ("keyboard", "xen"))
        ],
        audios=[] if _has_default_audio(domain.devices) else domain.devices.audios,
    )
    # A dynamic label is made anew by the host that starts the guest.
    labels = [one for one in domain.seclabels if one.type != "dynamic" or one.baselabel is not None]
    return format_domain(replace(domain, devices=devices, seclabels=labels), secure=True)


def _without_implicit(controllers: list[Controller]) -> list[Controller]:
    """Leave out the one USB controller of the PIIX3, and the one PCI root."""
    implicit = []
    for kind, models in (("usb", IMPLICIT_USB), ("pci", ("pci-root",))):
        present = [controller for controller in controllers if controller.type == kind]
        if len(present) == 1 and present[0].index == 0 and present[0].model in models:
            implicit += present
    return [one for one in controllers if not any(one is other for other in implicit)]


def _has_default_audio(devices: Devices) -> bool:
    """Return whether the sound goes where it would go without <audio>."""
    default = Devices(graphics=devices.graphics)
    complete_audio(default)
    return devices.audios == default.audios
