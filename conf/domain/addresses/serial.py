"""Addresses of virtio-serial ports and CCID smartcards.

Owns: which port each console and channel has, and the controllers that are added.
May touch: addresses of the domain, and its list of controllers.
May not touch: anything else of the domain. Which port is free: `serial_ports`.
"""

from __future__ import annotations

from conf.domain.addresses.serial_ports import VirtioSerialPorts
from conf.domain.devices.address import CcwAddress, VirtioSerialAddress
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.controller import Controller
from conf.domain.model import Domain


def assign(domain: Domain) -> None:
    """Assign a virtio-serial port to every console and channel, adding controllers if needed.

    Raises:
        ConfError: a port of the XML is impossible or taken.
    """
    devices = domain.devices
    ports = VirtioSerialPorts()
    for controller in devices.controllers:
        if controller.type == "virtio-serial":
            ports.add_controller(controller.index or 0, controller.ports)
    consoles = [item for item in devices.consoles if item.target_type == "virtio"]
    channels = [item for item in devices.channels if item.target_type == "virtio"]
    for item in (*consoles, *channels):
        address = item.address
        if isinstance(address, VirtioSerialAddress) and address.port:
            ports.reserve(address.controller, address.port)
    for item in consoles:
        _place(item, ports, console=True)
    for item in channels:
        _place(item, ports, console=False)
    for index in ports.added:
        devices.controllers.append(Controller(type="virtio-serial", index=index))


def _place(item: CharDevice, ports: VirtioSerialPorts, *, console: bool) -> None:
    address = item.address
    chosen = None
    if isinstance(address, VirtioSerialAddress):
        if address.port:
            return
        chosen = address.controller
    elif console or not (address is None or isinstance(address, CcwAddress)):
        return  # QEMU itself finds a port for a console that names no controller
    controller, port = ports.free(console=console, controller=chosen)
    item.address = VirtioSerialAddress(controller=controller, bus=0, port=port)
