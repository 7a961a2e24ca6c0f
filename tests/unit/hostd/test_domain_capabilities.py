"""What the host adds to the domain capabilities: firmware by QEMU's descriptors, swtpm."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from conf.emulator import EmulatorFacts
from supervisor.hostd.capabilities.domain import os_part, tpm_part
from supervisor.hostd.capabilities.xml_writer import write
from supervisor.images.firmware_descriptors import Descriptor, FlashFile, Mapping, Target

Q35 = [Target("x86_64", ["pc-q35-*"])]
BOTH = [Target("x86_64", ["pc-i440fx-*", "pc-q35-*"])]


def flash(path: str, *features: str, targets: list[Target] = Q35, form: str = "raw") -> Descriptor:
    mapping = Mapping("flash", executable=FlashFile(path, form))
    return Descriptor(["uefi"], mapping, targets, list(features))


def values(firmware: Sequence[Descriptor], path: str) -> list[str | None]:
    tree = ElementTree.fromstring(write(os_part(firmware)))
    return [element.text for element in tree.findall(path)]


def test_without_descriptors_no_firmware_can_be_chosen() -> None:
    assert values([], "enum[@name='firmware']/value") == []
    assert values([], "loader/value") == []
    assert values([], "loader/enum[@name='secure']/value") == ["no"]


def test_files_are_named_once_in_order_of_preference() -> None:
    firmware = [flash("/fw/b", "requires-smm"), flash("/fw/a"), flash("/fw/b")]
    assert values(firmware, "enum[@name='firmware']/value") == ["efi"]
    assert values(firmware, "loader/value") == ["/fw/b", "/fw/a"]
    assert values(firmware, "loader/enum[@name='secure']/value") == ["yes", "no"]


def test_a_file_that_a_loader_cannot_name_is_left_out() -> None:
    assert values([flash("/fw/c", form="qcow2")], "loader/value") == []


def test_a_rom_is_the_bios() -> None:
    rom = Descriptor(["bios"], Mapping("memory", filename="/fw/bios.bin"), BOTH)
    assert values([rom, flash("/fw/a")], "enum[@name='firmware']/value") == ["bios", "efi"]
    assert values([rom], "loader/value") == ["/fw/bios.bin"]


def test_firmware_is_for_its_machines_alone() -> None:
    assert flash("/fw/a").runs_on("x86_64", "pc-q35-7.2")
    assert not flash("/fw/a").runs_on("x86_64", "pc-i440fx-7.2")
    assert not flash("/fw/a").runs_on("i686", "pc-q35-7.2")
    assert flash("/fw/a", targets=BOTH).runs_on("x86_64", "pc-i440fx-7.2")


def test_an_emulated_tpm_is_offered_where_swtpm_is_installed(emulator_facts: EmulatorFacts) -> None:
    for installed in (True, False):
        tree = ElementTree.fromstring(write(tpm_part(emulator_facts, swtpm=installed)))
        backends = [one.text for one in tree.findall("enum[@name='backendModel']/value")]
        assert ("emulator" in backends) is installed
        assert "passthrough" in backends
