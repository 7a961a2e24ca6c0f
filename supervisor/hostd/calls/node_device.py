"""The host's devices: lists, lookups, documents.

Owns: one method per procedure, named as in the table.
May touch: /sys through `supervisor.hostd.devices`, in a thread. May not touch: devices.
Source: libvirt 9.0 node_device_driver.c.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from rpc.enums import ConnectListAllNodeDeviceFlags as Flags
from rpc.enums import NodeDeviceCreateXMLFlags, NodeDeviceDefineXMLFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import NodeDevice
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.hostd.devices.documents import device_xml
from supervisor.hostd.devices.sysfs import HostDevice, devices
from supervisor.objects.listing import ListFilter

ERRORS: Final = ServiceErrors(ErrorDomain.NODEDEV)
#: The flag of each kind of device. Kinds that this build does not list have a flag, too.
FLAG_OF: Final = {
    "system": Flags.CAP_SYSTEM, "pci": Flags.CAP_PCI_DEV, "usb_device": Flags.CAP_USB_DEV,
    "usb": Flags.CAP_USB_INTERFACE, "net": Flags.CAP_NET, "storage": Flags.CAP_STORAGE,
}  # fmt: skip
STATES: Final = Flags.ACTIVE | Flags.INACTIVE
ALL_FLAGS: Final = sum(Flags)
#: What is listed is there, so it is active.
ACTIVE: Final = ListFilter[HostDevice](
    ((Flags.ACTIVE, lambda _: True), (Flags.INACTIVE, lambda _: False))
)


class NodeDeviceCalls:
    """The calls."""

    def __init__(self, read: Callable[[], list[HostDevice]] = devices) -> None:
        """Make the calls.

        Args:
            read: lists the devices; runs in a thread.
        """
        self._read = read

    async def node_num_of_devices(self, call: ClientCall, cap: str | None, flags: int) -> int:
        """Count the devices of a kind, or all."""
        ERRORS.check_flags("nodeNumOfDevices", flags)
        return len(await self._of(cap))

    async def node_list_devices(
        self, call: ClientCall, cap: str | None, maxnames: int, flags: int
    ) -> list[str]:
        """List the names of the devices of a kind, or of all."""
        ERRORS.check_flags("nodeListDevices", flags)
        return [device.name for device in await self._of(cap)][: max(0, maxnames)]

    async def connect_list_all_node_devices(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[NodeDevice], int]:
        """List the devices that match the flags."""
        ERRORS.check_flags("nodeConnectListAllNodeDevices", flags, ALL_FLAGS)
        kinds = flags & ~STATES
        found = [
            NodeDevice(device.name)
            for device in ACTIVE.select(await self._all(), flags)
            if not kinds or kinds & FLAG_OF[device.kind]
        ]
        return found if need_results else [], len(found)

    async def node_device_lookup_by_name(self, call: ClientCall, name: str) -> NodeDevice:
        """Look up a device.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        return NodeDevice((await self.device(name)).name)

    async def node_device_lookup_scsi_host_by_wwn(
        self, call: ClientCall, wwnn: str, wwpn: str, flags: int
    ) -> NodeDevice:
        """Refuse to find a Fibre Channel adapter: none are listed.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        ERRORS.check_flags("nodeDeviceLookupSCSIHostByWWN", flags)
        detail = f"no SCSI host with WWNN '{wwnn}' and WWPN '{wwpn}'"
        raise VirError(ErrorCode.NO_NODE_DEVICE, detail, ErrorDomain.NODEDEV)

    def node_device_create_xml(self, call: ClientCall, xml_desc: str, flags: int) -> NodeDevice:
        """Refuse to make a device: those of libvirt are virtual SCSI hosts and mediated devices.

        Raises:
            VirError: XML_ERROR, XML_DETAIL: it is no device; CONFIG_UNSUPPORTED: it is one.
        """
        ERRORS.check_flags("nodeDeviceCreateXML", flags, NodeDeviceCreateXMLFlags.VALIDATE)
        raise cannot_be_made(xml_desc)

    def node_device_define_xml(self, call: ClientCall, xml_desc: str, flags: int) -> NodeDevice:
        """Refuse to define a device; as `node_device_create_xml`."""
        ERRORS.check_flags("nodeDeviceDefineXML", flags, NodeDeviceDefineXMLFlags.VALIDATE)
        raise cannot_be_made(xml_desc)

    async def node_device_get_xml_desc(self, call: ClientCall, name: str, flags: int) -> str:
        """Return a device's document.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        ERRORS.check_flags("nodeDeviceGetXMLDesc", flags)
        device = await self.device(name)
        return await asyncio.to_thread(device_xml, device)

    async def node_device_get_parent(self, call: ClientCall, name: str) -> str | None:
        """Return the name of the device that one is plugged into; None for the host itself.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        return (await self.device(name)).parent

    async def node_device_num_of_caps(self, call: ClientCall, name: str) -> int:
        """Count a device's capabilities.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        await self.device(name)
        return 1

    async def node_device_list_caps(self, call: ClientCall, name: str, maxnames: int) -> list[str]:
        """List a device's capabilities: its kind.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        return [(await self.device(name)).kind][: max(0, maxnames)]

    async def node_device_is_active(self, call: ClientCall, name: str) -> int:
        """Return 1: what is listed is there.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        await self.device(name)
        return 1

    async def node_device_is_persistent(self, call: ClientCall, name: str) -> int:
        """Return 0: the host's hardware has no definition.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        await self.device(name)
        return 0

    async def _all(self) -> list[HostDevice]:
        """Read /sys, in a thread: a host can have thousands of functions."""
        return await asyncio.to_thread(self._read)

    async def _of(self, cap: str | None) -> list[HostDevice]:
        return [device for device in await self._all() if cap is None or device.kind == cap]

    async def device(self, name: str) -> HostDevice:
        """Look up a device.

        Raises:
            VirError: NO_NODE_DEVICE.
        """
        for device in await self._all():
            if device.name == name:
                return device
        detail = f"no node device with matching name '{name}'"
        raise VirError(ErrorCode.NO_NODE_DEVICE, detail, ErrorDomain.NODEDEV)


def cannot_be_made(xml: str) -> VirError:
    """Make the refusal of a document: it is none, or this daemon makes no such device."""
    try:
        root = parse_tree(xml)
    except ConfError as error:
        return from_conf_error(error, ErrorDomain.NODEDEV)
    if root.tag != "device":
        detail = f"expecting root element of 'device', not '{root.tag}'"
        return VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.NODEDEV)
    capability = root.find("capability")
    if capability is None:
        detail = f"no device capabilities for '{root.findtext('name') or 'new device'}'"
        return VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.NODEDEV)
    detail = f"Unsupported device type '{capability.get('type')}': no devices are made here"
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NODEDEV)
