"""SavedDefinitions: what a saved guest goes on as: its image's XML, a client's or a hook script's.

Owns: the choice, and the check that the machine stays the same. May touch: hook scripts.
Source: libvirt 9.0, qemuSaveImageUpdateDef, qemuDomainRestoreInternal.
"""

from __future__ import annotations

from conf.domain.abi_stability import check_abi_stability
from conf.domain.migratable import format_migratable
from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.domain import Definition
from supervisor.images.save_image import SaveData
from supervisor.runtime.hooks import Hooks


class SavedDefinitions:
    """Makes the definitions of one driver's saved guests."""

    def __init__(self, builder: DefinitionBuilder, hooks: Hooks) -> None:
        self._builder = builder
        self._hooks = hooks

    async def restored(self, data: SaveData, dxml: str | None = None) -> Definition:
        """Make what a guest is restored from; hook scripts see it, and may change it.

        Args:
            data: of the image.
            dxml: a client's XML in place of the image's.

        Raises:
            ConfError, VirError: it is invalid, or another machine's; HOOK_SCRIPT_FAILED.
        """
        definition = await self._builder.build(data.xml)
        wanted = data.xml if dxml is None else dxml
        if self._hooks.scripts():
            wanted = await self._hooks.edit(definition.domain.name, "restore", wanted)
        if wanted != data.xml:
            definition = await self._builder.build(await self.other_xml(definition, wanted))
        return definition

    async def other_xml(self, source: Definition, xml: str) -> str:
        """Check that a guest can go on under another XML, and complete that for its image.

        Raises:
            ConfError, VirError: the XML is invalid, or another machine's.
        """
        target = await self._builder.build(xml)
        check_abi_stability(source.domain, target.domain)
        return format_migratable(target.domain)
