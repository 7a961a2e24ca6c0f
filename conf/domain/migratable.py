"""The migratable XML: an inactive form that older versions of libvirt read, too.

Owns: what is left out of it. Pure.
Source: libvirt 9.0, qemuDomainDefFormatBufInternal (VIR_DOMAIN_XML_MIGRATABLE), measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain.cpu import Cpu, CpuFeature
from conf.domain.devices.controller import Controller
from conf.domain.devices.controller_order import order_controllers
from conf.domain.devices.devices import Devices
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.graphics_defaults import complete_audio
from conf.domain.domain_xml import format_domain
from conf.domain.model import Domain

ICELAKE, PCONFIG = "Icelake-Server", "pconfig"
IMPLICIT_USB: Final = (None, "piix3-uhci")


def format_migratable(domain: Domain) -> str:
    """Format a domain without ids, aliases, and the devices that every guest has anyway.

    Args:
        domain: a definition or a live domain; it is only read.
    """
    devices = replace(
        domain.devices,
        controllers=_controllers(domain),
        inputs=[
            item
            for item in domain.devices.inputs
            if (item.type, item.bus) not in (("keyboard", "ps2"), ("keyboard", "xen"))
        ],
        graphics=[_with_old_listens(graphics) for graphics in domain.devices.graphics],
        audios=[] if _has_default_audio(domain.devices) else domain.devices.audios,
    )
    # A dynamic label is made anew by the host that starts the guest.
    labels = [
        one
        for one in domain.seclabels
        if one.type != "dynamic"
        or one.baselabel is not None
        or (one.model is not None and one.label is None)
    ]
    cpu = _with_old_feature(domain.cpu)
    return format_domain(replace(domain, devices=devices, seclabels=labels, cpu=cpu), secure=True)


def _with_old_feature(cpu: Cpu | None) -> Cpu | None:
    """Say that an Icelake-Server has no pconfig: the model of older versions has it."""
    if cpu is None or cpu.mode != "custom" or cpu.model is None or cpu.model.name != ICELAKE:
        return cpu
    if any(feature.name == PCONFIG for feature in cpu.features):
        return cpu
    return replace(cpu, features=[*cpu.features, CpuFeature(policy="disable", name=PCONFIG)])


def _controllers(domain: Domain) -> list[Controller]:
    """Order the controllers as reading does; leave out what a PC with the PIIX3 has anyway."""
    controllers = list(domain.devices.controllers)
    order_controllers(controllers)
    implicit = []
    for kind, models in (("usb", IMPLICIT_USB), ("pci", ("pci-root",))):
        present = [controller for controller in controllers if controller.type == kind]
        if len(present) == 1 and present[0].index == 0 and present[0].model in models:
            implicit += present
    if any(one.model == "pcie-root" for one in controllers):
        implicit = []  # that board has no PIIX3
    return [
        one
        for one in controllers
        if one.pcihole is not None or not any(one is other for other in implicit)
    ]


def _with_old_listens(graphics: Graphics) -> Graphics:
    """Leave out the kinds of <listen> that older versions do not know."""
    listens = [
        listen
        for number, listen in enumerate(graphics.listens)
        if not (listen.type == "none" and graphics.type == "spice")
        and not (number == 0 and listen.socket and graphics.type == "vnc")
    ]
    if len(listens) == len(graphics.listens):
        return graphics
    if graphics.type == "spice" and not listens:
        return replace(graphics, listens=listens, autoport=False)
    return replace(graphics, listens=listens)


def _has_default_audio(devices: Devices) -> bool:
    """Return whether the sound goes where it would go without <audio>."""
    default = Devices(graphics=devices.graphics)
    complete_audio(default)
    return devices.audios == default.audios
