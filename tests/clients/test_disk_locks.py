"""`lock_manager = "lockd"`: two hosts, which share a folder, never write to one image."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import open_directory
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, wait_until
from tests.clients.libvirt_binding import libvirt

DISK_ONLY = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
BUSY = libvirt.VIR_ERR_RESOURCE_BUSY
PIVOT = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT


class Host:
    """A daemon that locks images by files in a folder that another shares."""

    def __init__(self, settings: str) -> None:
        self.daemon = Daemon()
        etc = self.daemon.root / "etc/libvirt"
        etc.mkdir(parents=True)
        (etc / "qemu.conf").write_text('lock_manager = "lockd"\n')
        (etc / "qemu-lockd.conf").write_text(settings)
        self.daemon.start()
        self.link = libvirt.open(self.daemon.uri)

    def start(self, name: str, devices: str) -> Any:
        return self.link.createXML(idle(name, devices=devices))

    def refuses(self, name: str, devices: str) -> str:
        """The message with which a guest is not started, since an image is locked."""
        with pytest.raises(libvirt.libvirtError) as refused:
            self.start(name, devices)
        assert refused.value.get_error_code() == BUSY, refused.value
        return str(refused.value)

    def close(self) -> None:
        self.link.close()
        self.daemon.clean_up()


def disk(path: Path, extra: str = "", target: str = "vda") -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>{extra}"
        f"<source file='{path}'/><target dev='{target}' bus='virtio'/></disk>"
    )


def image(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "1M"], check=True)
    return path


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two of them."""
    EventLoop.start()
    found: list[Host] = []
    with open_directory() as folder:
        settings = f'file_lockspace_dir = "{folder}/locks"\n'
        try:
            found.append(Host(settings))
            found.append(Host(settings))
            yield found[0], found[1]
        finally:
            for host in found:
                host.close()


def test_an_image_is_locked_wherever_it_is_written_to(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    one, two = hosts
    path = image(tmp_path / "disk.qcow2")
    guest = one.start("guest", disk(path))
    assert "Lockspace resource" in two.refuses("other", disk(path))
    # The lock is QEMU's: it outlives the worker, and all of the daemon.
    worker = next(row["pid"] for row in one.daemon.status() if row["name"] == "qemu:guest")
    os.kill(worker, signal.SIGKILL)
    one.link.close()
    one.daemon.kill()
    two.refuses("other", disk(path))
    one.daemon.start()
    one.link = libvirt.open(one.daemon.uri)
    guest = one.link.lookupByName("guest")
    two.refuses("other", disk(path))
    # It moves with what is written to.
    guest.snapshotCreateXML("<domainsnapshot><name>s</name></domainsnapshot>", DISK_ONLY)
    overlay = tmp_path / "disk.s"
    two.refuses("other", disk(overlay))
    guest.blockCommit("vda", None, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
    two.refuses("other", disk(path))
    wait_until("a job that is ready", lambda: "ready='yes'" in guest.XMLDesc())
    guest.blockJobAbort("vda", PIVOT)
    two.refuses("other", disk(path))
    two.start("other", disk(image(overlay))).destroy()
    # A disk that the guest gets, and gives back.
    second = image(tmp_path / "second.qcow2")
    guest.attachDevice(disk(second, target="vdb"))
    two.refuses("other", disk(second))
    guest.detachDevice(disk(second, target="vdb"))
    guest.destroy()
    two.start("other", disk(path))
    assert "Lockspace resource" in one.refuses("guest", disk(path))
    two.link.lookupByName("other").destroy()


def test_what_is_only_read_or_shared_is_not_refused(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    one, two = hosts
    read = image(tmp_path / "read.qcow2")
    for host in hosts:
        host.start("reader", disk(read, "<readonly/>"))
    shared = tmp_path / "shared"
    shared.write_bytes(bytes(1 << 20))
    devices = disk(shared, "<shareable/>").replace("qcow2", "raw")
    for host in hosts:
        host.start("sharer", devices)
    one.refuses("writer", devices.replace("<shareable/>", ""))
    assert two.link.lookupByName("sharer").isActive()


def test_leases_are_locked_and_may_be_demanded(tmp_path: Path) -> None:
    host = Host("auto_disk_leases = 0\n")
    try:
        path = image(tmp_path / "disk.qcow2")
        with pytest.raises(libvirt.libvirtError, match="no leases specified"):
            host.start("guest", disk(path))
        (tmp_path / "lease").touch()
        lease = (
            f"<lease><lockspace>s</lockspace><key>lease</key><target path='{tmp_path}'/></lease>"
        )
        guest = host.start("guest", disk(path) + lease)
        assert "resource 'lease' is locked" in host.refuses("other", lease)
        # What stock's virtlockd would find: the same byte.
        with (tmp_path / "lease").open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        guest.destroy()
        with (tmp_path / "lease").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
            host.refuses("other", lease)
    finally:
        host.close()
