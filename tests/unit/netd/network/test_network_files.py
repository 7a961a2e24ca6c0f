"""Definition files of networks that a package or an administrator wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.recovery import define_default, load
from supervisor.netd.network.registry import network_registry
from supervisor.runtime.paths import Paths

PACKAGED = """\
<network>
  <name>default</name>
  <bridge name='virbr7'/>
  <forward/>
  <ip address='192.168.7.1' netmask='255.255.255.0'/>
</network>
"""


@pytest.fixture
def files(tmp_path: Path) -> NetworkFiles:
    return NetworkFiles(Paths.system(tmp_path))


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "etc/libvirt/qemu/networks/default.xml"
    file.write_text(text)
    return file


async def test_packaged_network_is_loaded_with_its_autostart(
    files: NetworkFiles, tmp_path: Path
) -> None:
    file = write(tmp_path, PACKAGED)
    files.set_autostart("default", on=True)
    uuids = set()
    for _ in range(2):
        registry = network_registry()
        load(files, registry)
        await define_default(files, registry)
        (obj,) = registry
        assert obj.autostart
        assert obj.definition is not None
        assert obj.definition.mac is not None
        uuids.add(obj.uuid)
    assert len(uuids) == 1
    assert "virbr7" in file.read_text()


async def test_unreadable_default_network_is_left_as_it_is(
    files: NetworkFiles, tmp_path: Path
) -> None:
    file = write(tmp_path, "<network><name>default</name>")
    registry = network_registry()
    load(files, registry)
    await define_default(files, registry)
    assert list(registry) == []
    assert file.read_text() == "<network><name>default</name>"


def test_network_without_a_bridge_name_is_given_a_free_one(
    files: NetworkFiles, tmp_path: Path
) -> None:
    write(tmp_path, "<network><name>default</name></network>")
    files.save("other", "<network><name>other</name><bridge name='virbr0'/></network>")
    registry = network_registry()
    load(files, registry)
    bridges = [obj.definition.bridge.name for obj in registry if obj.definition]  # type: ignore[union-attr]
    assert len(bridges) == len(set(bridges)) == 2
    assert "virbr0" in bridges
