"""Snapshots and block jobs through stock clients: memory that is there again, events, failures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.clients.conftest import open_directory
from tests.clients.daemon import VIRSH, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_mounts, shown

DISK_ONLY = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
RUNNING = libvirt.VIR_DOMAIN_RUNNING


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that QEMU's user may enter."""
    with open_directory() as path:
        yield path


def disk(image: Path, size: str = "1M") -> str:
    """Make an image; a disk that has it."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, size], check=True)
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
    )


def with_memory(name: str, memory: Path) -> str:
    """A snapshot with its memory in a file."""
    return (
        f"<domainsnapshot><name>{name}</name><memory snapshot='external' file='{memory}'/>"
        "</domainsnapshot>"
    )


def chain(domain: Any, flags: int = 0) -> list[str]:
    """The names of the disk's images, from the top down."""
    xml = domain.XMLDesc(flags).partition("<disk ")[2].partition("</disk>")[0]
    return [os.path.basename(path) for path in re.findall(r"<source file='([^']*)'", xml)]


@pytest.mark.parametrize("kind", ["file", "image"])
def test_memory_and_disk_are_again_what_they_were(
    daemon: Daemon, tiny: Guest, folder: Path, kind: str
) -> None:
    document = daemon.root / "tiny.xml"
    document.write_text(booting("tiny", tiny, devices=disk(folder / "disk.qcow2")))
    daemon.ok("define", str(document))
    console = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "start", "tiny", "--console"], timeout=120, encoding="utf-8"
    )
    console.expect(READY)
    console.expect("login: ")
    console.sendline("root")
    console.expect("# ")

    def tell(value: str) -> None:
        command = f"kept={value}; echo $kept >/tmp/kept; dd if=/tmp/kept of=/dev/vda conv=fsync"
        console.sendline(command)
        console.expect("records out")
        console.expect("# ")

    console.sendline("mkdir -p /tmp")
    console.expect("# ")
    tell("before")
    memory = ["--memspec", f"{folder / 'memory'},snapshot=external"] if kind == "file" else []
    daemon.ok("snapshot-create-as", "tiny", "s1", *memory)
    assert daemon.ok("domstate", "tiny").strip() == "running"
    tell("after")
    daemon.ok("snapshot-revert", "tiny", "s1")
    console.close()
    assert daemon.ok("domstate", "tiny", "--reason").strip() == "running (from snapshot)"
    console = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "console", "tiny"], timeout=60, encoding="utf-8"
    )
    console.expect("Escape character")
    console.sendline("echo it is $kept, $(dd if=/dev/vda bs=6 count=1 iflag=direct 2>/dev/null).")
    console.expect("it is before, before")
    console.close()
    daemon.ok("destroy", "tiny")
    daemon.ok("undefine", "tiny", "--snapshots-metadata")


def test_a_snapshot_that_is_aborted_has_never_been(link: Any, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    domain = link.defineXML(idle("web", devices=disk(folder / "disk.qcow2")))
    domain.create()
    errors: list[Any] = []

    def make() -> None:
        try:
            domain.snapshotCreateXML(with_memory("s1", fifo))
        except libvirt.libvirtError as error:
            errors.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    paused = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT]
    wait_until("the guest is paused", lambda: domain.state() == paused)
    domain.abortJob()
    thread.join(30)
    os.close(reader)
    assert errors[0].get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED
    assert domain.state()[0] == RUNNING
    assert domain.snapshotListNames() == []
    assert chain(domain) == ["disk.qcow2"]
    assert sorted(os.listdir(folder)) == ["disk.qcow2", "fifo"]
    domain.destroy()
    domain.undefine()


def test_overlays_are_as_qemu_img_makes_them(link: Any, folder: Path) -> None:
    raw = folder / "b.img"
    raw.write_bytes(bytes(5 << 20))
    second = (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='{raw}'/><target dev='vdb' bus='virtio'/></disk>"
    )
    domain = link.defineXML(idle("web", devices=disk(folder / "a.qcow2", "3G") + second))
    domain.create()
    for number in range(2):
        document = f"<domainsnapshot><name>s{number}</name></domainsnapshot>"
        domain.snapshotCreateXML(document, DISK_ONLY)
    domain.destroy()
    for name, size in (("a", 3 << 30), ("b", 5 << 20)):
        for number, below in ((1, f"{name}.s0"), (0, {"a": "a.qcow2", "b": "b.img"}[name])):
            image = f"{folder}/{name}.s{number}"
            words = ["qemu-img", "info", "--output=json", image]
            info = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
            assert info["virtual-size"] == size
            assert info["backing-filename"] == f"{folder}/{below}"
            assert info["backing-filename-format"] == ("raw" if below == "b.img" else "qcow2")
            subprocess.run(["qemu-img", "check", "-q", image], check=True)
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)


def test_a_job_is_told_of_by_path_and_by_target(link: Any, folder: Path) -> None:
    by_path = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB)
    by_target = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2)
    image = folder / "disk.qcow2"
    domain = link.defineXML(idle("web", devices=disk(image)))
    domain.create()
    domain.snapshotCreateXML("<domainsnapshot><name>s1</name></domainsnapshot>", DISK_ONLY)
    domain.blockCommit("vda", None, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
    kind = libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT
    overlay = str(folder / "disk.s1")
    for watch, name in ((by_path, overlay), (by_target, "vda")):
        watch.expect("web", name, kind, libvirt.VIR_DOMAIN_BLOCK_JOB_READY)
    domain.blockJobAbort("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    for watch, name in ((by_path, str(image)), (by_target, "vda")):
        watch.expect("web", name, kind, libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED)
        watch.close()
    assert chain(domain) == chain(domain, libvirt.VIR_DOMAIN_XML_INACTIVE) == ["disk.qcow2"]
    domain.destroy()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)


def test_what_may_not_run_beside_a_block_job(link: Any, folder: Path) -> None:
    image = folder / "disk.qcow2"
    domain = link.createXML(idle("web", devices=disk(image)))
    target = f"<disk type='file'><source file='{folder}/copy'/><driver type='qcow2'/></disk>"
    domain.blockCopy("vda", target, {}, 0)
    snapshot = "<domainsnapshot><name>s1</name></domainsnapshot>"
    device = f"<disk {domain.XMLDesc().partition('<disk ')[2].partition('</disk>')[0]}</disk>"
    active, invalid = libvirt.VIR_ERR_BLOCK_COPY_ACTIVE, libvirt.VIR_ERR_OPERATION_INVALID
    calls: tuple[tuple[int, Callable[[], object]], ...] = (
        (active, lambda: domain.snapshotCreateXML(snapshot)),
        (active, lambda: domain.snapshotCreateXML(snapshot, DISK_ONLY)),
        (active, lambda: domain.snapshotCreateXML(with_memory("s1", folder / "memory"))),
        (active, lambda: domain.blockPull("vda")),
        (active, lambda: domain.detachDevice(device)),
        (invalid, lambda: domain.save(str(folder / "saved"))),
        (invalid, lambda: domain.coreDump(str(folder / "dump"))),
    )
    for code, call in calls:
        with pytest.raises(libvirt.libvirtError) as refused:
            call()
        assert refused.value.get_error_code() == code
    assert domain.snapshotListNames() == []
    domain.blockJobAbort("vda")
    assert chain(domain) == ["disk.qcow2"]
    domain.destroy()


def test_a_copy_whose_target_is_full_leaves_the_guest_its_image(folder: Path) -> None:
    EventLoop.start()
    with own_mounts(), Daemon() as daemon:
        full = daemon.root / "full"
        full.mkdir()
        shown("mount", "-t", "tmpfs", "-o", "size=400k,mode=755", "full", str(full))
        image = folder / "disk.qcow2"
        devices = disk(image, "4M")
        subprocess.run(["qemu-io", "-c", "write -P 7 0 4M", image], check=True, capture_output=True)
        link = libvirt.open(daemon.uri)
        domain = link.createXML(idle("web", devices=devices))
        watch = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2)
        target = f"<disk type='file'><source file='{full}/copy'/><driver type='qcow2'/></disk>"
        domain.blockCopy("vda", target, {}, 0)
        kind = libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY
        watch.expect("web", "vda", kind, libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED)
        assert domain.blockJobInfo("vda") == {}
        assert "<mirror" not in domain.XMLDesc()
        assert chain(domain) == ["disk.qcow2"]
        assert domain.state()[0] == RUNNING
        watch.close()
        domain.destroy()
        link.close()


def test_what_one_client_changes_every_other_sees_at_once(
    daemon: Daemon, link: Any, folder: Path
) -> None:
    """Answers about snapshots are kept by rpcd: none outlives a change."""
    redefine = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
    xml = (
        "<domainsnapshot><name>{name}</name>{parent}<description>{text}</description>"
        "<creationTime>1</creationTime><state>shutoff</state>{domain}</domainsnapshot>"
    )
    domain = link.defineXML(idle("read-by-two", devices=disk(folder / "disk.qcow2")))
    other = libvirt.open(daemon.uri)
    reader = other.lookupByName(domain.name())

    def known() -> dict[str, tuple[str, bool, int]]:
        return {
            one.getName(): (
                re.findall("<description>(.*)</description>", one.getXMLDesc())[0],
                bool(one.isCurrent()),
                one.numChildren(),
            )
            for one in reader.listAllSnapshots()
        }

    def make(name: str, text: str, parent: str = "", flags: int = 0) -> Any:
        above = f"<parent><name>{parent}</name></parent>" if parent else ""
        document = xml.format(name=name, parent=above, text=text, domain=domain.XMLDesc())
        return domain.snapshotCreateXML(document, redefine | flags)

    try:
        assert known() == {}
        one = make("one", "first")
        assert known() == {"one": ("first", False, 0)}
        make("two", "second", "one", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT)
        assert known() == {"one": ("first", False, 1), "two": ("second", True, 0)}
        make("two", "changed")
        assert known() == {"one": ("first", False, 0), "two": ("changed", True, 0)}
        one.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
        assert known() == {"two": ("changed", True, 0)}
    finally:
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        other.close()


def test_virsh_makes_shows_and_deletes_a_tree(daemon: Daemon, folder: Path) -> None:
    document = daemon.root / "web.xml"
    document.write_text(idle("web", devices=disk(folder / "disk.qcow2")))
    daemon.ok("define", str(document))
    for name in ("s1", "s2"):
        daemon.ok("snapshot-create-as", "web", name)
    daemon.ok("snapshot-revert", "web", "s1")
    daemon.ok("snapshot-create-as", "web", "s3", "a third one")
    tree = daemon.ok("snapshot-list", "web", "--tree").split()
    assert tree == ["s1", "|", "+-", "s2", "+-", "s3"]
    assert daemon.ok("snapshot-current", "web", "--name").strip() == "s3"
    assert daemon.ok("snapshot-parent", "web", "s3").strip() == "s1"
    daemon.ok("snapshot-delete", "web", "s1")
    assert daemon.ok("snapshot-list", "web", "--roots", "--name").split() == ["s2", "s3"]
    held = subprocess.run(
        ["qemu-img", "snapshot", "-l", folder / "disk.qcow2"], capture_output=True, text=True
    ).stdout
    assert re.findall(r"\bs\d\b", held) == ["s2", "s3"]
    assert "with 2 snapshots" in daemon.virsh("undefine", "web").stderr
    daemon.ok("undefine", "web", "--snapshots-metadata")
