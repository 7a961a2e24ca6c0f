"""PCI devices of the host in a guest (libvirt: qemu_hostdev.c).

Owns: the order in which a guest's <hostdev>s go to vfio-pci and back to the host's drivers.
May touch: their drivers, through `supervisor.runtime.pci`. May not touch: QEMU.
Source: libvirt 9.0, virHostdevPreparePCIDevices, virHostdevReAttachPCIDevices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from conf.domain import parse_domain
from conf.domain.devices.hostdev import Hostdev
from ipc import Node
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.pci import (
    VFIO,
    PciDevice,
    bind,
    has_vfio,
    load_vfio,
    release,
    require_device,
)

DRIVER: Final = "vfio"  # as the live XML says it
MEDIATED: Final = Path("/sys/bus/mdev")

log = logging.getLogger(__name__)


def pci_device(hostdev: Hostdev) -> PciDevice | None:
    """Return the host's device of a <hostdev>; None: it is none of PCI."""
    place = hostdev.source.pci
    is_pci = hostdev.mode == "subsystem" and hostdev.type == "pci"
    return PciDevice.at(place) if is_pci and place is not None else None


def vfio_nodes(hostdev: Hostdev) -> Iterator[str]:
    """List the device nodes by which QEMU reaches a PCI or mediated device."""
    device = pci_device(hostdev)
    if hostdev.type == "mdev":
        device = PciDevice(hostdev.source.uuid or "", MEDIATED)
    if device is not None and (group := device.group):
        yield f"/dev/vfio/{group}"


async def take(
    node: Node, hostdevs: Iterable[Hostdev], status: Status, save: Callable[[], None]
) -> list[str]:
    """Give PCI devices to vfio-pci; if one fails, those before it are given back.

    Args:
        node: of the worker.
        hostdevs: of which those of PCI are taken.
        status: of their guest; it names the managed ones before they change hands.
        save: writes it.

    Returns:
        The addresses of the managed ones, for `give_back`.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host cannot do it, or a device is a bridge;
            OPERATION_INVALID: one that is not managed is the host's still; SYSTEM_ERROR.
    """
    wanted = [(hostdev, device) for hostdev in hostdevs if (device := pci_device(hostdev))]
    if not wanted:
        return []
    await load_vfio(node)
    await asyncio.to_thread(_check, wanted)
    managed = [device.address for hostdev, device in wanted if hostdev.managed]
    status.pci_devices = [*status.pci_devices, *managed]
    save()
    try:
        await asyncio.to_thread(_bind, managed)
    except BaseException:
        await give_back(managed, status, save)
        raise
    for hostdev, _ in wanted:
        hostdev.driver = DRIVER
    return managed


def _check(wanted: list[tuple[Hostdev, PciDevice]]) -> None:
    if not has_vfio():
        detail = "host doesn't support passthrough of host PCI devices"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    for hostdev, device in wanted:
        require_device(device)
        if not hostdev.managed and device.driver != VFIO:
            what = f"Unmanaged PCI device {device.address}"
            detail = f"{what} must be manually detached from the host"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.NONE)


def _bind(addresses: list[str]) -> None:
    for address in addresses:
        bind(PciDevice(address))


async def give_back(addresses: list[str], status: Status, save: Callable[[], None]) -> None:
    """Give managed PCI devices back to the host's drivers; errors are logged."""
    if not addresses:
        return
    await asyncio.to_thread(_release, addresses)
    status.pci_devices = [taken for taken in status.pci_devices if taken not in addresses]
    save()


async def give_back_all(status: Status, xml: str) -> None:
    """Give back what a guest had that has ended, also one that libvirt's daemon had started."""
    addresses = set(status.pci_devices)
    if "managed='yes'" in xml:
        addresses |= set(managed_addresses(parse_domain(xml).devices.hostdevs))
    if addresses:
        await asyncio.to_thread(_release, sorted(addresses))


def managed_addresses(hostdevs: Iterable[Hostdev]) -> list[str]:
    """List the managed PCI devices."""
    managed = (pci_device(hostdev) for hostdev in hostdevs if hostdev.managed)
    return [device.address for device in managed if device is not None]


def _release(addresses: list[str]) -> None:
    for address in addresses:
        try:
            release(PciDevice(address))
        except VirError as error:
            log.error("%s stays with %s: %s", address, VFIO, error)
