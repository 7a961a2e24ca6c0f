"""PCI devices taken from the host's drivers and given back, for guests that do not manage them.

Owns: one method per procedure, named as in the table.
May touch: devices' drivers, through `supervisor.runtime.pci`; the status files of running domains,
to read. May not touch: guests.
Source: libvirt 9.0, qemu_driver.c (qemuNodeDeviceDetachFlags), domain_driver.c, measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ipc import Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.hostd.calls.node_device import NodeDeviceCalls
from supervisor.hostd.devices.sysfs import HostDevice
from supervisor.objects.device_lock import unused
from supervisor.objects.device_use import HeldDevice
from supervisor.runtime.pci import (
    PciDevice,
    bind,
    has_vfio,
    load_vfio,
    release,
    require_device,
    reset,
)

VFIO: Final = "vfio"  # the driver, as clients name it
KVM: Final = "kvm"  # its predecessor, which the kernel no longer has
ERRORS: Final = ServiceErrors(ErrorDomain.QEMU)


class PciDeviceCalls:
    """The calls."""

    def __init__(self, node: Node, nodes: NodeDeviceCalls, run: Path) -> None:
        """Make the calls.

        Args:
            node: of this process.
            nodes: looks devices up by their names.
            run: the daemon's folder of state, where it is read which guests have which devices.
        """
        self._node = node
        self._nodes = nodes
        self._run = run

    async def node_device_dettach(self, call: ClientCall, name: str) -> None:
        """Give a device to vfio-pci; as `node_device_detach_flags`."""
        await self.node_device_detach_flags(call, name, None, 0)

    async def node_device_detach_flags(
        self, call: ClientCall, name: str, driver_name: str | None, flags: int
    ) -> None:
        """Give a device to vfio-pci, so that guests can have it.

        Raises:
            VirError: NO_NODE_DEVICE; INVALID_ARG: the driver is unknown, or the device is not of
                PCI; ARGUMENT_UNSUPPORTED: the host has no such driver; OPERATION_INVALID: a guest
                has the device; INTERNAL_ERROR, SYSTEM_ERROR.
        """
        device = await self._nodes.device(name)
        ERRORS.check_flags("qemuNodeDeviceDetachFlags", flags)
        driver = driver_name or VFIO
        if driver not in (VFIO, KVM):
            raise ERRORS.invalid_arg(f"unknown driver name '{driver}'")
        if driver == KVM:
            raise _no_driver("KVM device assignment is no longer supported on this system")
        await load_vfio(self._node)
        if not await asyncio.to_thread(has_vfio):
            raise _no_driver("VFIO device assignment is currently not supported on this system")
        pci = pci_of(device)

        def detach() -> None:
            require_device(pci)
            bind(pci)

        await self._unless_used(pci, detach)

    async def node_device_re_attach(self, call: ClientCall, name: str) -> None:
        """Give a device back to the host's driver; one that has it already is left alone.

        Raises:
            VirError: NO_NODE_DEVICE; INVALID_ARG: it is not of PCI; OPERATION_INVALID: a guest has
                it; SYSTEM_ERROR.
        """
        pci = pci_of(await self._nodes.device(name))
        await self._unless_used(pci, lambda: release(pci))

    async def node_device_reset(self, call: ClientCall, name: str) -> None:
        """Reset a device.

        Raises:
            VirError: NO_NODE_DEVICE; INVALID_ARG: it is not of PCI; OPERATION_INVALID: a guest has
                it; INTERNAL_ERROR: it cannot be reset.
        """
        pci = pci_of(await self._nodes.device(name))
        await self._unless_used(pci, lambda: reset(pci))

    async def _unless_used(self, device: PciDevice, change: Callable[[], None]) -> None:
        """Change a device that no running guest has nor takes meanwhile, in a thread."""
        async with unused(self._run, HeldDevice.pci(device.address)):
            await asyncio.to_thread(change)


def pci_of(device: HostDevice) -> PciDevice:
    """Return the PCI device of a node device.

    Raises:
        VirError: INVALID_ARG: it is of another kind.
    """
    if device.kind != "pci" or device.path is None:
        detail = f"device {device.name} is not a PCI device"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
    return PciDevice(device.path.name)


def _no_driver(detail: str) -> VirError:
    return VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.QEMU)
