"""Definitions on disk: what survives, what is left out, what a cut-short write leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.domd.definition_files import DomainDefinitionFiles
from supervisor.domd.registry import domain_type
from supervisor.drivers.qemu import QEMU
from supervisor.objects import change_journal
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.paths import Paths

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"


def xml(name: str, uuid: str = UUID) -> str:
    return f"<domain type='qemu'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n</domain>\n"


@pytest.fixture
def store(tmp_path: Path) -> DomainDefinitionFiles:
    return DomainDefinitionFiles(domain_type(QEMU), Paths.system(tmp_path))


def names(store: DomainDefinitionFiles) -> list[str]:
    return [stored.name for stored in store.load_headers()]


def test_a_saved_definition_is_loaded_with_its_name_and_uuid(store: DomainDefinitionFiles) -> None:
    store.save("one & two", xml("one &amp; two"))
    (stored,) = store.load_headers()
    assert (stored.name, stored.uuid.hex()) == ("one & two", UUID.replace("-", ""))
    assert not stored.autostart


def test_autostart_is_a_link_that_goes_with_the_definition(
    store: DomainDefinitionFiles, tmp_path: Path
) -> None:
    store.save("one", xml("one"))
    store.set_autostart("one", on=True)
    store.set_autostart("one", on=True)
    (stored,) = store.load_headers()
    assert stored.autostart
    link = tmp_path / "etc/libvirt/qemu/autostart/one.xml"
    assert os.readlink(link) == str(tmp_path / "etc/libvirt/qemu/one.xml")
    store.remove("one")
    assert not os.path.lexists(link)
    assert names(store) == []


def test_a_renamed_definition_keeps_its_autostart(store: DomainDefinitionFiles) -> None:
    store.save("old", xml("old"))
    store.set_autostart("old", on=True)
    store.rename("old", "new", xml("new"))
    (stored,) = store.load_headers()
    assert (stored.name, stored.autostart) == ("new", True)


@pytest.mark.parametrize("text", ["", "<domain>", xml("another"), xml("bad", "no-uuid"), "\xff"])
def test_a_file_that_is_no_definition_is_left_out_and_left_alone(
    store: DomainDefinitionFiles, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "etc/libvirt/qemu/bad.xml"
    file.write_text(text, encoding="latin-1")
    store.save("good", xml("good"))
    assert names(store) == ["good"]
    assert file.exists()


def test_a_host_has_one_autostart_a_boot(store: DomainDefinitionFiles) -> None:
    assert not store.had_autostart("this boot")
    store.mark_autostarted("this boot")
    assert store.had_autostart("this boot")
    assert not store.had_autostart("the next boot")


def test_autostart_that_libvirts_own_daemon_did_is_not_repeated(
    store: DomainDefinitionFiles, tmp_path: Path
) -> None:
    (tmp_path / "run/libvirt/qemu/autostarted").touch()
    assert store.had_autostart("this boot")


def test_a_write_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    old, new = b"old" * 1000, b"new" * 100_000
    for _ in range(20):
        path.write_bytes(old)
        child = os.fork()
        if child == 0:
            while True:
                write_file(path, new)
                write_file(path, old)
        reader, writer = os.pipe()
        os.close(writer)
        os.read(reader, 1)  # returns at once: only to give the child its turn
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert path.read_bytes() in (old, new)


def test_file_without_a_uuid_is_given_one_that_stays(
    store: DomainDefinitionFiles, tmp_path: Path
) -> None:
    file = tmp_path / "etc/libvirt/qemu/d.xml"
    file.write_text("<!-- mine -->\n<domain type='qemu'>\n  <name>d</name>\n</domain>\n")
    (first,), (second,) = store.load_headers(), store.load_headers()
    assert first.uuid == second.uuid
    assert file.read_text().startswith("<!-- mine -->\n<domain type='qemu'>\n  <name>d</name>")


@pytest.mark.parametrize("text", ["<domain><name>d</name>", "<domain><name>e</name></domain>"])
def test_file_that_is_no_definition_is_given_no_uuid(
    store: DomainDefinitionFiles, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "etc/libvirt/qemu/d.xml"
    file.write_text(text)
    assert names(store) == []
    assert file.read_text() == text


def test_a_change_is_forgotten_when_the_definition_is_removed_or_defined_anew(
    store: DomainDefinitionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "anew"):
        store.save(name, xml(name))
        store.replace(name, xml(name) + "<!-- changed -->")
    store.remove("gone")
    store.save("anew", xml("anew") + "<!-- defined -->")
    monkeypatch.setattr(change_journal, "boot_id", lambda: "the next boot")
    (stored,) = DomainDefinitionFiles(domain_type(QEMU), Paths.system(tmp_path)).load_headers()
    assert stored.name == "anew"
    assert "defined" in stored.xml


def test_a_change_survives_a_loss_of_power_before_its_file_is_written(
    store: DomainDefinitionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("one", xml("one"))
    before = (tmp_path / "etc/libvirt/qemu/one.xml").read_bytes()
    store.replace("one", xml("one") + "<!-- changed -->")
    (tmp_path / "etc/libvirt/qemu/one.xml").write_bytes(before)
    monkeypatch.setattr(change_journal, "boot_id", lambda: "the next boot")
    (stored,) = DomainDefinitionFiles(domain_type(QEMU), Paths.system(tmp_path)).load_headers()
    assert "changed" in stored.xml
