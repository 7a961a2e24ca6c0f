"""virDomain device calls: attach, detach and update one device, live and in the definition.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`.
Source: libvirt 9.0, virDomainAttachDeviceFlags and its siblings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from conf.domain import Domain
from conf.domain.device_list import (
    add_device,
    check_persistent_attach,
    find_by_alias,
    remove_device,
    replace_device,
)
from conf.domain.device_xml import Device, parse_device, with_mac
from conf.domain.devices.memory import MemoryDevice
from conf.domain.memory_modules import change_current
from ipc import Request
from rpc.enums import DomainDeviceModifyFlags as Flags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.messages.worker import AttachDevice, DetachDevice, DomainStatus, UpdateDevice
from supervisor.objects.impact import IMPACT_FLAGS

Edit = Callable[[Domain], object]


class DeviceCalls:
    """virDomainAttachDevice, virDomainDetachDevice, virDomainUpdateDevice and their variants."""

    def __init__(self, changer: DomainChanger, errors: ServiceErrors) -> None:
        self._changer = changer
        self._errors = errors

    async def domain_attach_device(self, call: ClientCall, dom: DomainId, xml: str) -> None:
        """Attach a device to a running guest."""
        await self.domain_attach_device_flags(call, dom, xml, Flags.LIVE)

    async def domain_attach_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Attach a device.

        Raises:
            VirError: OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR, CONFIG_UNSUPPORTED.
        """
        self._errors.check_flags("DomainAttachDeviceLiveAndConfig", flags, IMPACT_FLAGS)

        complete_xml = functools.cache(lambda: with_mac(xml))  # the guest and the definition agree

        def edit(domain: Domain) -> None:
            tag, device = parse_device(complete_xml())
            check_persistent_attach(domain, tag, device)
            add_device(domain, tag, device)
            if isinstance(device, MemoryDevice):
                change_current(domain, device.target.size)

        def request(_: Definition) -> AttachDevice:
            return AttachDevice(xml=complete_xml())

        change = DomainChange(name="attach device", edit=edit, live_request=request)
        await self._changer.change_domain(dom, flags, change)

    async def domain_detach_device(self, call: ClientCall, dom: DomainId, xml: str) -> None:
        """Detach a device from a running guest."""
        await self.domain_detach_device_flags(call, dom, xml, Flags.LIVE)

    async def domain_detach_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Detach the device that matches the XML.

        Raises:
            VirError: DEVICE_MISSING, OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR.
        """
        self._errors.check_flags("DomainDetachDeviceLiveAndConfig", flags, IMPACT_FLAGS)

        def edit(domain: Domain) -> None:
            remove(domain, *parse_device(xml))

        await self._change("detach device", dom, flags, edit, DetachDevice(xml=xml))

    async def domain_detach_device_alias(
        self, call: ClientCall, dom: DomainId, alias: str, flags: int
    ) -> None:
        """Detach the device that has the alias.

        Raises:
            VirError: as `domain_detach_device_flags`.
        """
        self._errors.check_flags("DomainDetachDeviceAlias", flags, IMPACT_FLAGS)

        def edit(domain: Domain) -> None:
            tag, device = find_by_alias(domain, alias)
            remove(domain, tag, device)

        await self._change("detach device", dom, flags, edit, DetachDevice(alias=alias))

    async def domain_update_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Update a disk's medium, an interface or a display to match the XML.

        Raises:
            VirError: DEVICE_MISSING, OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR.
        """
        self._errors.check_flags("DomainUpdateDeviceFlags", flags, IMPACT_FLAGS | Flags.FORCE)

        def edit(domain: Domain) -> None:
            replace_device(domain, *parse_device(xml))

        request = UpdateDevice(xml=xml, force=bool(flags & Flags.FORCE))
        await self._change("update device", dom, flags, edit, request)

    async def _change(
        self, name: str, dom: DomainId, flags: int, edit: Edit, request: Request[DomainStatus]
    ) -> None:
        change = DomainChange(name=name, edit=edit, live_request=lambda _: request)
        await self._changer.change_domain(dom, flags, change)


def remove(domain: Domain, tag: str, meant: Device) -> None:
    """Remove a device from a definition; a memory module takes its part of the memory along.

    Raises:
        ConfError: as `remove_device`.
    """
    removed = remove_device(domain, tag, meant)
    if isinstance(removed, MemoryDevice):
        change_current(domain, -removed.target.size)
