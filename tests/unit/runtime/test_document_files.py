"""Files of one document: folders, permissions, the largest that is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.runtime import atomic_file
from supervisor.runtime.document_files import MAX_DOCUMENT, read_document, write_document


def test_the_largest_document_is_read_back_and_a_larger_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_document(path, "x" * MAX_DOCUMENT)
    assert len(read_document(path)) == MAX_DOCUMENT
    with pytest.raises(OSError, match="File too large"):
        write_document(path, "x" * (MAX_DOCUMENT + 1))
    assert len(read_document(path)) == MAX_DOCUMENT
    path.write_text("x" * (MAX_DOCUMENT + 1))
    with pytest.raises(ValueError, match="it has over"):
        read_document(path)


def test_a_new_folder_is_durable_in_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(atomic_file, "sync_folder", lambda path: synced.append(str(path)))
    write_document(tmp_path / "etc/secrets/a.xml", "<secret/>")
    assert synced == [str(tmp_path), str(tmp_path / "etc"), str(tmp_path / "etc/secrets")]
    synced.clear()
    write_document(tmp_path / "etc/secrets/b.xml", "<secret/>")
    assert synced == [str(tmp_path / "etc/secrets")]
