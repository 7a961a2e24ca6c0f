"""domd's calls that add, remove and change single devices, of definitions and of running guests.

Owns: one method per procedure, named as in the table; the order: the definition is planned first,
then the guest changes, then the definition is kept. So what is refused changes nothing.
May touch: definitions; guests, through their workers.
Source: libvirt 9.0 virDomainAttachDeviceFlags and its kin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.device_list import add_device, change_device, find_alias, remove_device
from conf.domain.device_xml import parse_device
from ipc import Request
from rpc.enums import DomainDeviceModifyFlags as Flags
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.calls.metadata import targets
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.definitions import Definitions
from supervisor.domd.domain import Definition
from supervisor.domd.registry import Registry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.service_errors import refuse_flags
from supervisor.messages.worker import AttachDevice, DetachDevice, DomainStatus, UpdateDevice

IMPACT: Final = Flags.LIVE | Flags.CONFIG

Edit = Callable[[Domain], object]


class DeviceCalls:
    """What clients may change of domains' devices."""

    def __init__(
        self,
        registry: Registry,
        definitions: Definitions,
        builder: DefinitionBuilder,
        domains: RunningDomains,
    ) -> None:
        """Change these."""
        self._registry = registry
        self._definitions = definitions
        self._builder = builder
        self._domains = domains

    async def domain_attach_device(self, call: ClientCall, dom: DomainId, xml: str) -> None:
        """Give a running guest a device."""
        await self.domain_attach_device_flags(call, dom, xml, Flags.LIVE)

    async def domain_attach_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Give a domain a device.

        Raises:
            VirError: OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR, CONFIG_UNSUPPORTED.
        """
        refuse_flags("qemuDomainAttachDeviceLiveAndConfig", flags, IMPACT)

        def edit(domain: Domain) -> None:
            add_device(domain, *parse_device(xml))

        await self._change("attach", dom, flags, edit, AttachDevice(xml=xml))

    async def domain_detach_device(self, call: ClientCall, dom: DomainId, xml: str) -> None:
        """Take a device from a running guest."""
        await self.domain_detach_device_flags(call, dom, xml, Flags.LIVE)

    async def domain_detach_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Take a device from a domain.

        Raises:
            VirError: DEVICE_MISSING, OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR.
        """
        refuse_flags("qemuDomainDetachDeviceLiveAndConfig", flags, IMPACT)

        def edit(domain: Domain) -> None:
            remove_device(domain, *parse_device(xml))

        await self._change("detach", dom, flags, edit, DetachDevice(xml=xml))

    async def domain_detach_device_alias(
        self, call: ClientCall, dom: DomainId, alias: str, flags: int
    ) -> None:
        """Take the device of an alias from a domain.

        Raises:
            VirError: as `domain_detach_device_flags`.
        """
        refuse_flags("qemuDomainDetachDeviceAlias", flags, IMPACT)

        def edit(domain: Domain) -> None:
            tag, device = find_alias(domain, alias)
            remove_device(domain, tag, device)

        await self._change("detach", dom, flags, edit, DetachDevice(alias=alias))

    async def domain_update_device_flags(
        self, call: ClientCall, dom: DomainId, xml: str, flags: int
    ) -> None:
        """Change a device of a domain.

        Raises:
            VirError: DEVICE_MISSING, OPERATION_INVALID, OPERATION_UNSUPPORTED, XML_ERROR.
        """
        refuse_flags("qemuDomainUpdateDeviceFlags", flags, IMPACT | Flags.FORCE)

        def edit(domain: Domain) -> None:
            change_device(domain, *parse_device(xml))

        request = UpdateDevice(xml=xml, force=bool(flags & Flags.FORCE))
        await self._change("update", dom, flags, edit, request)

    async def _change(
        self, word: str, dom: DomainId, flags: int, edit: Edit, request: Request[DomainStatus]
    ) -> None:
        entry = self._registry.find(dom)
        async with entry.job.hold(f"{word} a device"):
            live, config = targets(entry, flags & IMPACT)
            planned = await self._edited(config, edit) if config is not None else None
            if live is not None:
                await self._domains.run_change(entry, request)
            if planned is not None:
                await self._definitions.replace(entry, planned)

    async def _edited(self, definition: Definition, edit: Edit) -> Definition:
        domain = parse_domain(definition.xml)  # one that nobody else has
        edit(domain)
        return await self._builder.build(format_domain(domain, secure=True))
