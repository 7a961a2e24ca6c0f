"""Assignment of all addresses of a domain: PCI, USB, virtio-serial, CCID and memory slots.

Owns: the order of the kinds of addresses: added controllers may need addresses themselves.
May touch: addresses of the domain, its lists of controllers and hubs.
May not touch: anything else of the domain.
"""

from __future__ import annotations

from conf.domain.addresses import memory_slots, pci, serial, spapr, usb
from conf.domain.device_xml import every_device
from conf.domain.devices.address import PciAddress, UsbAddress
from conf.domain.devices.lease import Lease
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts


def assign_addresses(domain: Domain, facts: EmulatorFacts) -> None:
    """Assign an address to every device that has none. Idempotent.

    Raises:
        ConfError: "xml": an address of the XML is impossible or taken; "internal": no room.
    """
    _drop_empty_addresses(domain)
    memory_slots.assign(domain)
    serial.assign(domain)
    spapr.assign(domain)
    pci.assign(domain, facts)
    usb.assign(domain)


def _drop_empty_addresses(domain: Domain) -> None:
    """Treat PCI address 0000:00:00 and USB port 0 as none: the device is yet to be placed."""
    for item in every_device(domain.devices):
        if isinstance(item, Lease) or item.address is None:
            continue
        address = item.address
        if isinstance(address, PciAddress) and not (address.domain or address.bus or address.slot):
            item.address = None
        elif isinstance(address, UsbAddress) and (address.port or "").strip("0") == "":
            address.port = None
