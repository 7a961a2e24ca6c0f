"""virConnectDomainXMLFromNative: domain XML of LXC's own configuration files.

Owns: one method per procedure, named as in the table. May touch: nothing; clients give the text.
"""

from __future__ import annotations

from typing import Final

from conf.native.lxc import domain_xml_of
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.definition_builder import DefinitionBuilder

FORMAT: Final = "lxc-tools"


class NativeXmlCalls:
    """connect_domain_xml_from_native of containers."""

    def __init__(self, builder: DefinitionBuilder, errors: ServiceErrors) -> None:
        self._builder = builder
        self._errors = errors

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
