"""Checks of the serial ports, consoles and sockets of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import CcidAddress
from conf.domain.devices.chardev import CharDevice
from conf.domain.model import Domain
from conf.domain.validate.parsed_devices import char_sources
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
#: Serial ports that belong to one kind of machine: the model, and how that machine's name begins.
SERIAL_MACHINES: Final = {
    "pl011": "virt", "spapr-vty": "pseries", "sclpconsole": "s390-ccw", "sclplmconsole": "s390-ccw",
    "16550a": "virt",
}  # fmt: skip
#: The model that a kind of serial port has where none is named.
SERIAL_MODELS: Final = {
    "system-serial": "pl011",
    "spapr-vio-serial": "spapr-vty",
    "sclp-serial": "sclpconsole",
}
#: The kind of address that each kind of serial port has.
SERIAL_ADDRESSES: Final = {
    "isa-serial": "isa", "isa-debug": "isa", "pci-serial": "pci", "usb-serial": "usb",
}  # fmt: skip


def check_serials(domain: Domain) -> None:
    """Check the serial ports against the machine type, and their addresses.

    Raises:
        ConfError: "config_unsupported".
    """
    machine = domain.os.type.machine or ""
    for serial in domain.devices.serials:
        _check_serial_address(serial)
        kind = serial.target_type or ""
        model = serial.target_model or SERIAL_MODELS.get(kind, "")
        fits = SERIAL_MACHINES.get(model, "")
        if not machine.startswith(fits):
            detail = (
                f"Serial device with target type '{kind}' and target model '{model}' not "
                "compatible with guest architecture or machine type"
            )
            raise ConfError(UNSUPPORTED, detail, "domain/devices/serial/target")


def check_unix_sockets(domain: Domain) -> None:
    """Check that Unix sockets have a path; the daemon makes those of virtio channels alone.

    Raises:
        ConfError: "internal".
    """
    for source in char_sources(domain):
        is_guest_target = isinstance(source, CharDevice) and source.target_type in ("virtio", "xen")
        if source.type == "unix" and not is_guest_target and source.path is None:
            raise ConfError("internal", "Missing source path attribute for char device", "source")


def _check_serial_address(serial: CharDevice) -> None:
    kind = serial.target_type or ""
    expected = SERIAL_ADDRESSES.get(kind)
    if expected is None or serial.address is None or serial.address.type == expected:
        return
    detail = (
        "usb-serial requires address of usb type"
        if expected == "usb"
        else f"Target type '{kind}' requires address type '{expected}'"
    )
    raise ConfError(UNSUPPORTED, detail, "domain/devices/serial/address/@type")


def check_consoles(domain: Domain) -> None:
    """Check that a serial port is the first console alone.

    Raises:
        ConfError: "config_unsupported".
    """
    if any(console.target_type == "serial" for console in domain.devices.consoles[1:]):
        detail = "Only the first console can be a serial port"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/console/target/@type")


def check_smartcards(domain: Domain) -> None:
    """Refuse a second smart card, and one elsewhere than at the first reader.

    Raises:
        ConfError: "config_unsupported".
    """
    cards = domain.devices.smartcards
    for card in cards:
        first = isinstance(card.address, CcidAddress) and not card.address.controller
        if len(cards) > 1 or not first:
            detail = "this QEMU binary lacks multiple smartcard support"
            raise ConfError("config_unsupported", detail, "domain/devices/smartcard")
