"""Disks that are files which a client has opened: virDomainFDAssociate, <source fdgroup=>."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

SIZE = 1 << 20


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    """A file without a name."""
    path = tmp_path / "image"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, SIZE)
    path.unlink()
    yield fd
    os.close(fd)


def disk(group: str, target: str, path: str = "/nowhere/image") -> str:
    return (
        f"<disk type='file'><driver name='qemu' type='raw'/>"
        f"<source file='{path}' fdgroup='{group}'/><target dev='{target}' bus='virtio'/></disk>"
    )


def write_by_guest(domain: Any, disk: int, byte: int) -> None:
    device = f"/machine/peripheral/virtio-disk{disk}/virtio-backend"
    command = f'qemu-io -d {device} "write -P {byte} 0 512"'
    libvirt_qemu.qemuMonitorCommand(domain, command, 1)


def sets_of(domain: Any) -> str:
    return str(libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "query-fdsets"}', 0))


def test_a_disk_is_the_file_that_the_client_has_opened(link: Any, opened: int) -> None:
    domain = link.defineXML(idle("passed", devices=disk("top", "vda")))
    with pytest.raises(libvirt.libvirtError) as refused:
        domain.create()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    expected = "file descriptor group 'top' was not associated with the domain"
    assert expected in refused.value.get_error_message()
    domain.FDAssociate("top", [opened], libvirt.VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE)
    domain.create()
    write_by_guest(domain, 0, 7)
    assert os.pread(opened, 512, 0) == b"\7" * 512
    domain.destroy()
    domain.create()  # the group is the domain's as long as the connection is there
    write_by_guest(domain, 0, 8)
    assert os.pread(opened, 1, 0) == b"\x08"


def test_an_open_file_is_plugged_in_and_out_also_by_another_worker(
    daemon: Daemon, link: Any, opened: int
) -> None:
    domain = link.defineXML(idle("plugged"))
    domain.create()
    (worker,) = [each["pid"] for each in daemon.status() if each["name"] == "qemu:plugged"]
    with pytest.raises(libvirt.libvirtError, match="'extra' was not associated"):
        domain.attachDevice(disk("extra", "vdb"))
    domain.FDAssociate("extra", [opened], 0)
    domain.attachDevice(disk("extra", "vdb"))
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert "libvirt-1-storage0" in sets_of(domain)
            break
        except libvirt.libvirtError:
            assert time.monotonic() < deadline
    write_by_guest(domain, 1, 9)
    assert os.pread(opened, 1, 0) == b"\x09"
    domain.detachDevice(disk("extra", "vdb"))


def test_a_group_ends_with_the_connection_that_made_it(daemon: Daemon, opened: int) -> None:
    first = libvirt.open(daemon.uri)
    domain = first.defineXML(idle("left", devices=disk("top", "vda")))
    domain.FDAssociate("top", [opened], 0)
    second = libvirt.open(daemon.uri)
    del domain
    first.close()
    with pytest.raises(libvirt.libvirtError, match="was not associated with the domain"):
        second.lookupByName("left").create()
    second.close()


@pytest.mark.parametrize("flags", [4, 1 << 31])
def test_other_flags_are_refused(link: Any, opened: int, flags: int) -> None:
    domain = link.defineXML(idle("flags"))
    with pytest.raises(libvirt.libvirtError, match="unsupported flags"):
        domain.FDAssociate("top", [opened], flags)
