"""What is removed of a backup's files, and what is somebody else's."""

from __future__ import annotations

import socket
from pathlib import Path

from supervisor.objects.backup_job import BackupDiskRecord, BackupRecord
from supervisor.workers.qemu.block.backup_files import remove_files


def record(path: Path, *, creating: bool = False, server: Path | None = None) -> BackupRecord:
    """A backup of one disk, whose image is at the path."""
    disk = BackupDiskRecord(
        target="vda", job="j", node="n", created=str(path), is_creating=creating
    )
    return BackupRecord(xml="", pull=True, disks=[disk], socket=str(server) if server else "")


def test_an_image_that_was_made_is_removed_unless_it_is_wanted(tmp_path: Path) -> None:
    image = tmp_path / "a"
    image.write_bytes(b"QFI")
    remove_files(record(image), keeps=True)
    assert image.exists()
    remove_files(record(image), keeps=False)
    assert not image.exists()
    remove_files(record(image), keeps=False)  # again, after a death in between


def test_what_may_be_somebody_elses_is_left(tmp_path: Path) -> None:
    image = tmp_path / "a"
    image.write_bytes(b"theirs")
    remove_files(record(image, creating=True), keeps=False)
    assert image.read_bytes() == b"theirs"
    image.write_bytes(b"")
    remove_files(record(image, creating=True), keeps=False)
    assert not image.exists()


def test_only_a_socket_is_removed_for_the_server(tmp_path: Path) -> None:
    place, image = tmp_path / "nbd", tmp_path / "a"
    place.write_text("a file")
    remove_files(record(image, server=place), keeps=False)
    assert place.exists()
    place.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
    remove_files(record(image, server=place), keeps=False)
    assert not place.exists()
