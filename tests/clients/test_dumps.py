"""Core dumps and peeks through stock clients: the formats, and what becomes of the guest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, Watch
from tests.clients.libvirt_binding import libvirt

MIB = 1024 * 1024
STREAM, ELF, KDUMP = b"QEVM", b"\x7fELF", b"makedumpfile"  # kdump is written for a pipe: flattened
LIVE, CRASH, RESET, MEMORY_ONLY = (
    libvirt.VIR_DUMP_LIVE,
    libvirt.VIR_DUMP_CRASH,
    libvirt.VIR_DUMP_RESET,
    libvirt.VIR_DUMP_MEMORY_ONLY,
)


@pytest.fixture
def guest(link: Any) -> Any:
    """A running transient domain called "web"."""
    EventLoop.start()
    return link.createXML(idle("web"))


@pytest.mark.parametrize(
    ("flags", "kind", "magic"),
    [
        (0, 0, STREAM),
        (LIVE, 0, STREAM),
        (RESET, 0, STREAM),
        (MEMORY_ONLY, 0, ELF),
        (MEMORY_ONLY | LIVE, 0, ELF),
        (MEMORY_ONLY, libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB, KDUMP),
    ],
)
def test_a_dump_has_its_format_and_the_guest_runs_on(
    guest: Any, tmp_path: Path, flags: int, kind: int, magic: bytes
) -> None:
    path = tmp_path / "core"
    path.write_text("an earlier one")
    guest.coreDumpWithFormat(str(path), kind, flags)
    assert path.read_bytes().startswith(magic)
    assert [one.name for one in tmp_path.iterdir()] == ["core"]
    assert guest.state() == [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED]
    completed = guest.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    assert bool(completed["type"]) is not bool(flags & MEMORY_ONLY)


def test_a_dump_that_fails_leaves_the_guest_and_the_file(guest: Any, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_text("an earlier one")
    for kind, flags, code, text in (
        (1, 0, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "only supported with memory-only dump"),
        (4, MEMORY_ONLY, libvirt.VIR_ERR_OPERATION_FAILED, "memory-only dump failed: win-dump"),
    ):
        with pytest.raises(libvirt.libvirtError, match=text) as refused:
            guest.coreDumpWithFormat(str(path), kind, flags)
        assert refused.value.get_error_code() == code
    assert path.read_text() == "an earlier one"
    assert [one.name for one in tmp_path.iterdir()] == ["core"]
    assert guest.state()[0] == libvirt.VIR_DOMAIN_RUNNING


def test_a_paused_guest_stays_paused_and_a_crash_ends_it(
    daemon: Daemon, link: Any, guest: Any, tmp_path: Path
) -> None:
    watch = Watch(link)
    guest.suspend()
    guest.coreDump(str(tmp_path / "core"), 0)
    assert guest.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    daemon.ok("dump", "web", str(tmp_path / "crash"), "--memory-only", "--crash")
    watch.wait_for(
        "web", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED
    )
    watch.close()
    assert link.listAllDomains() == []


def test_a_part_of_a_guests_memory_is_read(guest: Any) -> None:
    firmware = guest.memoryPeek(0xFFFFFFF0, 16, libvirt.VIR_MEMORY_PHYSICAL)
    assert b"/" in firmware  # SeaBIOS's date, at the reset vector
    assert len(guest.memoryPeek(0, 70000, libvirt.VIR_MEMORY_VIRTUAL)) == 70000
    for flags in (0, 4):
        with pytest.raises(libvirt.libvirtError, match="flags") as refused:
            guest.memoryPeek(0, 16, flags)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG


def test_a_part_of_a_disk_is_read_whether_the_guest_runs_or_not(link: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(range(256)) * 4096)
    devices = (
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    domain = link.defineXML(idle("disk", devices=devices))
    for name in ("vda", str(disk)):
        assert domain.blockPeek(name, 3, 4) == bytes((3, 4, 5, 6))
    domain.create()
    assert domain.blockPeek("vda", 257, 2) == bytes((1, 2))
    with pytest.raises(libvirt.libvirtError, match="has only 4 bytes available"):
        domain.blockPeek("vda", MIB - 4, 16)
    with pytest.raises(libvirt.libvirtError, match="disk '/x' not found in domain"):
        domain.blockPeek("/x", 0, 16)
