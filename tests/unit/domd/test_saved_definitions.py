"""What a saved guest goes on as."""

from __future__ import annotations

from pathlib import Path

from supervisor.domd.definition_builder import DefinitionBuilder
from supervisor.domd.saved_definitions import SavedDefinitions
from supervisor.images.save_image import Compression, new_image
from supervisor.runtime.hooks import Hooks
from tests.unit.domd.domd_under_test import NoDefaults

#: As libvirt's daemon has it of a running guest; its image has no CPU of its own then.
RUNNING = """<domain type='qemu'><name>web</name><uuid>5a2b3c4d-0000-4000-8000-000000000001</uuid>
<memory>16384</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model>
<feature policy='require' name='hypervisor'/></cpu></domain>"""


async def test_a_guest_that_was_libvirts_is_restored_with_the_cpu_that_it_had(
    tmp_path: Path,
) -> None:
    saved = SavedDefinitions(DefinitionBuilder(NoDefaults()), Hooks(tmp_path / "qemu"))
    image = new_image(RUNNING, was_running=True, compression=Compression.RAW)
    cpu = (await saved.restored(image)).domain.cpu
    assert cpu is not None
    assert cpu.check == "full"
    assert [feature.name for feature in cpu.features] == ["hypervisor"]
