"""Registers of devices on a pSeries' virtual I/O bus.

Owns: which devices are on that bus, and which register is free.
May touch: addresses of the domain. May not touch: anything else of it.
Source: libvirt 9.0 qemuDomainAssignSpaprVIOAddresses, which goes by models, not by machines.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import SpaprAddress
from conf.domain.model import Domain

FIRST_NETWORK: Final = 0x1000
FIRST_SCSI: Final = 0x2000
STEP: Final = 0x1000


def assign(domain: Domain) -> None:
    """Give each device on the bus a register of its own."""
    devices = domain.devices
    for interface in devices.interfaces:
        if interface.model == "spapr-vlan" and interface.address is None:
            interface.address = SpaprAddress()
    for controller in devices.controllers:
        if controller.type == "scsi" and controller.model == "ibmvscsi":
            controller.address = controller.address or SpaprAddress()
    starts = [(interface.address, FIRST_NETWORK) for interface in devices.interfaces]
    starts += [(controller.address, FIRST_SCSI) for controller in devices.controllers]
    addresses = [(at, first) for at, first in starts if isinstance(at, SpaprAddress)]
    taken = {address.reg for address, _ in addresses}
    for address, first in addresses:
        if address.reg is None:
            address.reg = next(reg for reg in range(first, 2**32, STEP) if reg not in taken)
            taken.add(address.reg)
