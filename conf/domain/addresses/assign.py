"""Assignment of all addresses of a domain: PCI, USB, virtio-serial and CCID.

Owns: the order of the kinds of addresses: added controllers may need addresses themselves.
May touch: addresses of the domain, its lists of controllers and hubs.
May not touch: anything else of the domain.
"""

from __future__ import annotations

from conf.domain.addresses import pci, serial, usb
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts


def assign_addresses(domain: Domain, facts: EmulatorFacts) -> None:
    """Assign an address to every device that has none. Idempotent.

    Raises:
        ConfError: "xml": an address of the XML is impossible or taken; "internal": no room.
    """
    serial.assign(domain)
    pci.assign(domain, facts)
    usb.assign(domain)
