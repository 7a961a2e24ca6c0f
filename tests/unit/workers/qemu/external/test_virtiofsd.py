"""virtiofsd: its command line, its binary, and what it cannot serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.domain.devices.filesystem import Filesystem
from conf.domain.validate.filesystems import check_filesystems
from conf.errors import ConfError
from supervisor.workers.qemu.external.virtiofsd import complete, plan_command, served

SHARED = "<memoryBacking><access mode='shared'/></memoryBacking>"
CELLS = (
    "<cpu><numa><cell id='0' cpus='0' memory='512' memAccess='shared'/>"
    "<cell id='1' cpus='1' memory='512' memAccess='{}'/></numa></cpu>"
)


def document(inner: str, *, memory: str = SHARED, attributes: str = "") -> str:
    return (
        f"<domain type='qemu'><name>d</name><memory>1024</memory><vcpu>2</vcpu>{memory}"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
        f"<filesystem type='mount' {attributes}><driver type='virtiofs'/>{inner}"
        "<target dir='share'/></filesystem></devices></domain>"
    )


def filesystem(inner: str) -> Filesystem:
    found = parse_domain(document(inner)).devices.filesystems[0]
    found.alias = "fs0"
    return found


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    folder = tmp_path / "vhost-user"
    folder.mkdir()
    gpu = {"description": "", "type": "gpu", "binary": "/bin/false"}
    (folder / "10-gpu.json").write_text(json.dumps(gpu))
    (folder / "50-fs.json").write_text(json.dumps(gpu | {"type": "fs", "binary": "/bin/true"}))
    return folder


@pytest.mark.parametrize(
    ("binary", "options"),
    [
        ("", ["-o", "source=/srv/a,,b"]),
        ("<binary xattr='on'><cache mode='always'/><sandbox mode='chroot'/></binary>",
         ["-o", "source=/srv/a,,b,cache=always,sandbox=chroot,xattr"]),
        ("<binary xattr='off'><lock posix='on' flock='off'/><thread_pool size='0'/></binary>",
         ["-o", "source=/srv/a,,b,no_xattr,no_flock,posix_lock", "--thread-pool-size=0"]),
    ],
)  # fmt: skip
def test_the_documents_settings_are_on_the_command_line(binary: str, options: list[str]) -> None:
    command = plan_command(filesystem(f"{binary}<source dir='/srv/a,b'/>"), 7, 8)
    assert command.argv[1:] == ["--fd=7", *options]
    assert command.fds == (7,)


def test_the_binary_is_the_one_of_the_descriptor_unless_the_document_names_one(
    descriptors: Path,
) -> None:
    found = filesystem("<source dir='/tmp'/>")
    complete([found], [descriptors])
    assert found.binary is not None
    assert found.binary.path == "/bin/true"
    named = filesystem("<binary path='/bin/sh'/><source dir='/tmp'/>")
    complete([named], [descriptors])
    assert named.binary is not None
    assert named.binary.path == "/bin/sh"


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("<binary path='/nowhere'/><source dir='/tmp'/>", "'/nowhere' is not executable"),
        ("<source dir='/nowhere'/>", "export directory '/nowhere' does not exist"),
    ],
)
def test_what_virtiofsd_would_fail_on_is_refused(
    inner: str, message: str, descriptors: Path
) -> None:
    with pytest.raises(ConfError, match=message):
        complete([filesystem(inner)], [descriptors])


def test_a_host_without_virtiofsd_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match="Unable to find a satisfying virtiofsd"):
        complete([filesystem("<source dir='/tmp'/>")], [tmp_path])


def test_a_socket_of_a_virtiofsd_that_runs_is_left_to_it() -> None:
    assert not list(served(parse_domain(document("<source socket='/s'/>"))))


@pytest.mark.parametrize("memory", ["", CELLS.format("private")])
def test_memory_that_is_not_shared_is_refused(memory: str) -> None:
    with pytest.raises(ConfError, match="'virtiofs' requires shared memory"):
        check_filesystems(parse_domain(document("<source dir='/tmp'/>", memory=memory)))
    check_filesystems(parse_domain(document("<source dir='/tmp'/>", memory=CELLS.format("shared"))))
