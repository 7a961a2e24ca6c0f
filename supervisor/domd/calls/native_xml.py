"""Documents of what other programs of the host keep about containers.

Owns: one method per procedure, named as in the table. May touch: nothing; clients give the text.
"""

from __future__ import annotations

from typing import Final

from conf.native.lxc import document_of
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.service_errors import refuse_flags

FORMAT: Final = "lxc-tools"


class NativeXmlCalls:
    """connect_domain_xml_from_native of containers."""

    def __init__(self, builder: DefinitionBuilder) -> None:
        """Have documents completed by these."""
        self._builder = builder

    async def connect_domain_xml_from_native(
        self, call: ClientCall, native_format: str, native_config: str, flags: int
    ) -> str:
        """LXC's own configuration as a document that can be defined.

        Raises:
            VirError: INVALID_ARG for another format. ConfError: what the text asks for cannot be.
        """
        refuse_flags("qemuConnectDomainXMLFromNative", flags)
        if native_format != FORMAT:
            detail = f"unsupported config type {native_format}: containers have '{FORMAT}'"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
        return (await self._builder.build(document_of(native_config))).xml
