"""Native configurations: domain XML of LXC's files, and of domain XML QEMU's command line.

Owns: one method per procedure, named as in the table.
May touch: a worker that is spawned to plan a command line; clients give the texts.
Source: libvirt 9.0, virConnectDomainXMLFromNative, virConnectDomainXMLToNative.
"""

from __future__ import annotations

import asyncio
from typing import Final

from conf.native.lxc import domain_xml_of
from ipc import BusError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.workers import Workers
from supervisor.messages.worker import PlanCommandLine

FORMAT: Final = "lxc-tools"
QEMU_FORMAT: Final = "qemu-argv"
MAX_PLANS: Final = 2  # processes at a time


class NativeXmlCalls:
    """The calls of one driver."""

    def __init__(self, builder: DefinitionBuilder, workers: Workers, errors: ServiceErrors) -> None:
        self._builder = builder
        self._workers = workers
        self._errors = errors
        self._plans = asyncio.Semaphore(MAX_PLANS)

    async def connect_domain_xml_to_native(
        self, call: ClientCall, native_format: str, domain_xml: str, flags: int
    ) -> str:
        """Return the command line with which a domain would be started.

        Raises:
            VirError: INVALID_ARG for another format; what keeps the domain from being defined or
                started. ConfError: the XML is invalid.
        """
        self._errors.check_flags("ConnectDomainXMLToNative", flags)
        if native_format != QEMU_FORMAT:
            raise self._errors.invalid_arg(f"unsupported config type {native_format}")
        definition = await self._builder.build(domain_xml)
        async with self._plans:
            try:
                planned = await self._workers.call_spare(PlanCommandLine(xml=definition.xml))
            except BusError as error:
                detail = f"no process could plan the command line: {error}"
                raise self._errors.operation_failed(detail) from error
        return planned.text

    async def connect_domain_xml_from_native(
        self, call: ClientCall, native_format: str, native_config: str, flags: int
    ) -> str:
        """Convert an lxc.conf file to domain XML that can be defined.

        Raises:
            VirError: INVALID_ARG for another format. ConfError: what the text asks for cannot be.
        """
        self._errors.check_flags("ConnectDomainXMLFromNative", flags)
        if native_format != FORMAT:
            detail = f"unsupported config type {native_format}: containers have '{FORMAT}'"
            raise self._errors.invalid_arg(detail)
        return (await self._builder.build(domain_xml_of(native_config))).xml
