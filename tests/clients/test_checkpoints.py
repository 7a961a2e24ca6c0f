"""Checkpoints through the stock binding: no write since one is missing, and none is half made."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.conftest import open_directory
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

CHUNK: Final = 65536  # bytes: what one bit of a bitmap stands for
BACKEND: Final = "/machine/peripheral/virtio-disk0/virtio-backend"
DISK_ONLY: Final = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
PIVOT: Final = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT
BARE: Final = libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
SIZE: Final = libvirt.VIR_DOMAIN_CHECKPOINT_XML_SIZE


class Machine:
    """A running domain with one disk."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder
        image = folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
        disk = (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
        )
        self.link = libvirt.open(daemon.uri)
        self.link.defineXML(idle("noted", devices=disk)).create()

    @property
    def domain(self) -> Any:
        """The domain, also after the daemon's processes were killed."""
        return self.link.lookupByName("noted")

    @property
    def files(self) -> Path:
        """The folder of the checkpoints."""
        return self.daemon.root / "var/lib/libvirt/qemu/checkpoint/noted"

    def write(self, chunk: int) -> None:
        """Write a chunk of the disk, as the guest would."""
        line = f'qemu-io -d {BACKEND} "write -P 7 {chunk * CHUNK} {CHUNK}"'
        assert not libvirt_qemu.qemuMonitorCommand(self.domain, line, 1).strip()

    def make(self, name: str) -> Any:
        """Make a checkpoint."""
        return self.domain.checkpointCreateXML(
            f"<domaincheckpoint><name>{name}</name></domaincheckpoint>"
        )

    def chunks(self) -> dict[str, int]:
        """How many chunks were written since each checkpoint."""
        found = {}
        for one in self.domain.listAllCheckpoints():
            size = re.search(r" size='(\d+)'", one.getXMLDesc(BARE | SIZE))
            found[one.getName()] = int(size[1]) // CHUNK if size else -1
        return found

    def names(self) -> list[str]:
        """The checkpoints."""
        return sorted(one.getName() for one in self.domain.listAllCheckpoints())

    def bitmaps(self) -> set[str]:
        """The bitmaps that QEMU has."""
        command = {"execute": "query-named-block-nodes", "arguments": {"flat": True}}
        answer = libvirt_qemu.qemuMonitorCommand(self.domain, json.dumps(command), 0)
        nodes = json.loads(answer)["return"]
        return {one["name"] for node in nodes for one in node.get("dirty-bitmaps", ())}

    def finish_job(self) -> None:
        """Wait until a copy or a commit is ready, and have the guest use it."""

        def ready() -> bool:
            info = self.domain.blockJobInfo("vda")
            return bool(info) and info["cur"] == info["end"] > 0

        wait_until("the job is ready", ready)
        self.domain.blockJobAbort("vda", PIVOT)

    def kill(self, name: str) -> None:
        """Kill a process of the daemon, and wait for its successor."""
        wait_until(f"a running {name}", lambda: self.pid_of(name) != 0)
        former = self.pid_of(name)
        os.kill(former, signal.SIGKILL)
        wait_until(f"another {name}", lambda: self.pid_of(name) not in (0, former))

    def pid_of(self, name: str) -> int:
        """The process id of one of the daemon's processes."""
        rows = [row for row in self.daemon.status() if row["name"] == name]
        return int(rows[0]["pid"] or 0) if rows else 0


@pytest.fixture
def machine(daemon: Daemon) -> Iterator[Machine]:
    """A domain, and none afterwards."""
    with open_directory() as folder:
        made = Machine(daemon, folder)
        yield made
        with contextlib.suppress(libvirt.libvirtError):
            made.domain.destroy()
        flags = libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        made.domain.undefineFlags(flags | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        made.link.close()


def test_writes_are_counted_through_snapshots_jobs_and_restarts(machine: Machine) -> None:
    first = machine.make("one")
    machine.write(0)
    second = machine.make("two")
    machine.write(1)
    assert second.getParent().getName() == "one"
    assert machine.chunks() == {"one": 2, "two": 1}
    snapshot = "<domainsnapshot><name>s</name></domainsnapshot>"
    machine.domain.snapshotCreateXML(snapshot, DISK_ONLY)
    machine.write(2)
    assert machine.chunks() == {"one": 3, "two": 2}
    machine.make("three")
    machine.domain.blockCommit("vda", None, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
    machine.finish_job()
    machine.write(3)
    # The base has noted what the commit wrote to it, so the newest has more than it must.
    assert machine.chunks() == {"one": 4, "two": 3, "three": 1}
    machine.domain.snapshotCreateXML(snapshot.replace("s<", "t<"), DISK_ONLY)
    machine.write(4)
    machine.domain.blockPull("vda")
    wait_until("the pull is done", lambda: not machine.domain.blockJobInfo("vda"))
    assert machine.chunks() == {"one": 5, "two": 4, "three": 2}
    target = f"<disk type='file'><driver type='qcow2'/><source file='{machine.folder}/b'/></disk>"
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    machine.domain.blockCopy("vda", target, {}, flags)
    machine.finish_job()
    machine.write(5)
    assert machine.chunks() == {"one": 6, "two": 5, "three": 3}
    machine.domain.destroy()
    machine.domain.create()
    assert machine.chunks() == {"one": 6, "two": 5, "three": 3}
    second.delete()
    assert machine.domain.checkpointLookupByName("three").getParent().getName() == "one"
    first.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN)
    assert (machine.names(), machine.bitmaps()) == ([], set())


def test_what_a_domd_died_over_is_finished_or_undone(machine: Machine) -> None:
    for name in ("made", "kept", "gone"):
        machine.make(name)
    made, files = machine.files / "made.xml", machine.files
    text = made.read_text()
    made.rename(f"{made}.creating")  # QEMU has made it, and its record was not written
    (files / "never.xml.creating").write_text(text.replace("made", "never"))
    (files / "kept.xml.deleting").write_text("")  # QEMU was not asked yet
    (files / "gone.xml.deleting").write_text("")
    node = {"node": "libvirt-1-format", "name": "gone"}
    command = {"execute": "block-dirty-bitmap-remove", "arguments": node}
    libvirt_qemu.qemuMonitorCommand(machine.domain, json.dumps(command), 0)
    machine.kill("domd")
    assert machine.names() == ["kept", "made"]
    assert sorted(path.name for path in files.iterdir()) == ["kept.xml", "made.xml"]
    assert set(machine.chunks()) == machine.bitmaps()


def test_a_checkpoint_is_whole_or_not_there_whatever_is_killed(machine: Machine) -> None:
    for number in range(4):
        failed: list[Exception] = []

        def change(name: str = f"c{number}", failed: list[Exception] = failed) -> None:
            link = libvirt.open(machine.daemon.uri)
            try:
                domain = link.lookupByName("noted")
                domain.checkpointCreateXML(
                    f"<domaincheckpoint><name>{name}</name></domaincheckpoint>"
                )
                domain.checkpointLookupByName(name).delete()
                domain.checkpointCreateXML(
                    f"<domaincheckpoint><name>{name}x</name></domaincheckpoint>"
                )
            except libvirt.libvirtError as error:
                failed.append(error)
            finally:
                link.close()

        thread = threading.Thread(target=change)
        thread.start()
        thread.join(number * 0.012)  # somewhere in the middle
        machine.kill(("domd", "qemu:noted")[number % 2])
        thread.join(30)
        assert not thread.is_alive()
        wait_until("the guest answers", lambda: answers(machine))
        assert set(machine.names()) == machine.bitmaps(), (number, failed)
        assert -1 not in machine.chunks().values()


def answers(machine: Machine) -> bool:
    """Whether the daemon reaches the guest."""
    try:
        machine.names()
        machine.bitmaps()
    except libvirt.libvirtError:
        return False
    return True


def test_checkpoints_and_snapshots_of_a_domain_that_is_off(machine: Machine) -> None:
    machine.make("one")
    flags = libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
    machine.domain.destroy()
    with pytest.raises(libvirt.libvirtError, match="cannot create checkpoint for inactive domain"):
        machine.make("two")
    with pytest.raises(libvirt.libvirtError, match="while checkpoint exists"):
        machine.domain.snapshotCreateXML("<domainsnapshot/>")
    with pytest.raises(libvirt.libvirtError, match="cannot delete checkpoint for inactive domain"):
        machine.domain.checkpointLookupByName("one").delete()
    with pytest.raises(libvirt.libvirtError, match="with 1 checkpoints"):
        machine.domain.undefine()
    machine.domain.rename("other")
    domain = machine.link.lookupByName("other")
    assert [one.getName() for one in domain.listAllCheckpoints()] == ["one"]
    domain.rename("noted")
    machine.kill("domd")
    machine.domain.checkpointLookupByName("one").delete(flags)
    machine.domain.snapshotCreateXML("<domainsnapshot/>")


def test_a_copy_to_a_raw_image_is_made_and_has_no_checkpoint(machine: Machine) -> None:
    machine.make("one")
    machine.write(0)
    target = f"<disk type='file'><driver type='raw'/><source file='{machine.folder}/raw'/></disk>"
    machine.domain.blockCopy("vda", target, {}, libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
    machine.finish_job()
    assert (machine.folder / "raw").read_bytes() == b"\7" * CHUNK + bytes(2**20 - CHUNK)
    with pytest.raises(libvirt.libvirtError, match="unsupported for storage type raw"):
        machine.make("two")
    with pytest.raises(libvirt.libvirtError, match="bitmap 'one' not found") as refused:
        machine.domain.checkpointLookupByName("one").delete()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
