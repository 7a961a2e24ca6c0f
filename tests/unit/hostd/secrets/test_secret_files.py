"""Secrets on disk: what survives, who may read it, what a cut-short change leaves."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.hostd.secrets.files import SecretFiles
from supervisor.runtime.document_files import MAX_DOCUMENT

UUID = "22e1353d-c27e-4d6d-bf15-465053e6ba0b"
OTHER = "f52a81b2-424e-490c-823d-6bd4235bc572"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def store(folder: Path) -> SecretFiles:
    return SecretFiles(folder)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_without_a_folder_there_are_no_secrets(store: SecretFiles, folder: Path) -> None:
    assert store.load() == []
    assert not folder.exists()


def test_a_secret_of_the_protocols_size_is_there_after_a_restart(folder: Path) -> None:
    xml = f"<secret><description>{'&apos;' * 700_000}</description></secret>"
    SecretFiles(folder).save(UUID, xml)
    (stored,) = SecretFiles(folder).load()
    assert stored.xml.endswith(xml)


def test_a_document_that_could_not_be_read_back_is_refused(folder: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        SecretFiles(folder).save(UUID, "x" * MAX_DOCUMENT)
    assert SecretFiles(folder).load() == []


def test_a_saved_secret_is_loaded_with_its_value(store: SecretFiles, folder: Path) -> None:
    store.save(UUID, "<secret/>")
    store.save(OTHER, "<secret/>")
    store.save_value(UUID, b"\x00value")
    first, second = store.load()
    assert (first.uuid, first.value, second.value) == (UUID, b"\x00value", None)
    assert first.xml.endswith("<secret/>")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_removed_secret_leaves_nothing(store: SecretFiles, folder: Path) -> None:
    store.save(UUID, "<secret/>")
    store.save_value(UUID, b"value")
    store.remove(UUID)
    store.remove(UUID)  # a repetition does no harm
    assert files(folder) == set()


def test_a_value_that_a_killed_removal_left_is_removed(store: SecretFiles, folder: Path) -> None:
    store.save(UUID, "<secret/>")
    store.save_value(UUID, b"value")
    (folder / f"{UUID}.xml").unlink()  # as far as a removal got
    assert store.load() == []
    assert files(folder) == set()


def test_a_new_secret_does_not_get_the_value_of_an_earlier_one(
    store: SecretFiles, folder: Path
) -> None:
    store.save(UUID, "<secret/>")
    store.save_value(UUID, b"value")
    (folder / f"{UUID}.xml").unlink()
    store.save(UUID, "<secret/>")
    assert [stored.value for stored in store.load()] == [None]


def test_other_files_are_left_alone(store: SecretFiles, folder: Path) -> None:
    store.save(UUID, "<secret/>")
    for name in ("notes.txt", "no-uuid.xml", "no-uuid.base64", f".{UUID}.xml.new", UUID.upper()):
        (folder / name).write_text("not ours")
    (folder / f"{OTHER}.xml").mkdir()
    before = files(folder)
    assert [stored.uuid for stored in store.load()] == [UUID]
    assert files(folder) == before


def test_a_value_that_is_no_base64_is_no_value_and_is_in_no_log(
    store: SecretFiles, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(UUID, "<secret/>")
    (folder / f"{UUID}.base64").write_bytes(b"(hush)")
    with caplog.at_level(logging.DEBUG):
        assert [stored.value for stored in store.load()] == [None]
    assert "is no base64" in caplog.text
    assert "hush" not in caplog.text
    assert (folder / f"{UUID}.base64").exists()


def test_values_are_in_no_text_of_what_holds_them(store: SecretFiles) -> None:
    store.save(UUID, "<secret/>")
    store.save_value(UUID, b"hush")
    assert "hush" not in repr(store.load())


@given(value=st.binary(max_size=300))
def test_any_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: bytes) -> None:
    store = SecretFiles(tmp_path_factory.mktemp("secrets"))
    store.save(UUID, "<secret/>")
    store.save_value(UUID, value)
    (stored,) = store.load()
    assert stored.value == value


def test_values_lie_as_libvirt_would_read_them(store: SecretFiles, folder: Path) -> None:
    store.save(UUID, "<secret/>")
    store.save_value(UUID, b"a value")
    assert (folder / f"{UUID}.base64").read_bytes() == base64.b64encode(b"a value")
