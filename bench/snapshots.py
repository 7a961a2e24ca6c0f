"""Snapshots and block jobs: ours, and beside a stock libvirtd in the same run.

    python -m bench.snapshots [--with-stock [DIR]] [--only WORD …] [--mib 1024]

Each row is the median of its samples; ours and stock take turns, and a ratio is ours / stock. The
guests are paused: a disk is written to by nobody but the jobs. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.ours import own_daemon, own_side
from bench.sides import HEADER, Action, Comparison, Side, compare, show
from bench.stock import CHROOT, Stock
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

MIB: Final = 1024 * 1024
NAME: Final = "bench-snapshots"
LISTED: Final = 500
CHAINS: Final = (1, 10, 50, 100)  # images below the top one
JOB_S: Final = 300.0
XML: Final = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
{disks}</devices></domain>"""
DISK: Final = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{file}'/><target dev='{target}' bus='virtio'/></disk>"""
TARGETS: Final = ("vda", "vdb", "vdc")
REDEFINED: Final = """<domainsnapshot><name>{name}</name>{parent}<creationTime>{time}</creationTime>
<state>shutoff</state>{domain}</domainsnapshot>"""


@contextmanager
def guest(side: Side, *, chain: int = 0, mib: int = 0, disks: int = 1) -> Iterator[Any]:
    """A defined guest whose first disk has so many images below it and so much data."""
    folder = side.images / NAME
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    base = folder / "base.qcow2"
    _image(["create", "-f", "qcow2", str(base), f"{max(mib, 64)}M"])
    if mib:
        _io(base, f"write -P 7 0 {mib}M")
    for number in range(chain):
        below = "base" if not number else f"overlay{number - 1}"
        overlay = str(folder / f"overlay{number}.qcow2")
        _image(["create", "-f", "qcow2", "-F", "qcow2", "-b", f"{below}.qcow2", overlay])
    top = "base" if not chain else f"overlay{chain - 1}"
    names = [f"{top}.qcow2", *(f"{target}.qcow2" for target in TARGETS[1:disks])]
    for name in names[1:]:
        _image(["create", "-f", "qcow2", str(folder / name), "64M"])
    described = [
        DISK.format(file=side.seen_as / NAME / name, target=target)
        for name, target in zip(names, TARGETS, strict=False)
    ]
    link = side.connect()
    domain = link.defineXML(XML.format(name=NAME, disks="".join(described)))
    for image in folder.iterdir():
        image.chmod(0o666)
    try:
        yield domain
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        link.close()
        for image in folder.iterdir():
            image.unlink()
        folder.rmdir()


def _image(arguments: list[str]) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def _io(image: Path, command: str) -> None:
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, str(image)], check=True, capture_output=True
    )


def _paused(domain: Any) -> None:
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def _snapshot(domain: Any, side: Side, number: int, *, disks: int = 1, flags: int = 0) -> None:
    folder = side.seen_as / NAME
    parts = "".join(
        f"<disk name='{target}' snapshot='external'>"
        f"<source file='{folder}/{target}.snapshot{number}'/></disk>"
        for target in TARGETS[:disks]
    )
    document = f"<domainsnapshot><name>s{number}</name><disks>{parts}</disks></domainsnapshot>"
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    domain.snapshotCreateXML(document, flags)


def disk_snapshot(*, disks: int = 1, metadata: bool = True) -> Callable[[Side], Any]:
    """Prepare external snapshots of the disks of a running guest, each on top of the last."""
    flags = 0 if metadata else libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, disks=disks) as domain:
            _paused(domain)
            yield lambda number: _snapshot(domain, side, number, disks=disks, flags=flags)

    return prepare


@contextmanager
def internal_snapshot(side: Side) -> Iterator[Action]:
    """Take snapshots in the image of a running guest; deleting each again is not timed."""
    with guest(side) as domain:
        _paused(domain)

        def take(number: int) -> Callable[[], object]:
            made = domain.snapshotCreateXML(
                f"<domainsnapshot><name>s{number}</name></domainsnapshot>", 0
            )
            return made.delete  # type: ignore[no-any-return]

        yield take


@contextmanager
def listed(side: Side) -> Iterator[Any]:
    """A guest that is off and has 500 snapshots, each the parent of the next."""
    with guest(side) as domain:
        for number in range(LISTED):
            parent = f"<parent><name>s{number - 1:03d}</name></parent>" if number else ""
            document = REDEFINED.format(
                name=f"s{number:03d}", parent=parent, time=1_700_000_000 + number,
                domain=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
            )  # fmt: skip
            domain.snapshotCreateXML(document, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
        yield domain


def of_list(action: Callable[[Any], object]) -> Callable[[Side], Any]:
    """Prepare a query of a guest with many snapshots."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with listed(side) as domain:
            yield lambda _: action(domain)

    return prepare


def start_of_chain(images: int) -> Callable[[Side], Any]:
    """Prepare the start of a guest whose disk has so many images below it, and its end."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, chain=images) as domain:

            def run(_: int) -> None:
                _paused(domain)
                domain.destroy()

            yield run

    return prepare


def xml_of_chain(images: int, *, changed: bool) -> Callable[[Side], Any]:
    """Prepare the XML of a running guest with such a disk, as it is or after a change each time."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, chain=images) as domain:
            _paused(domain)

            def read(number: int) -> None:
                if changed:
                    domain.setMetadata(
                        libvirt.VIR_DOMAIN_METADATA_TITLE, f"n{number}", None, None,
                        libvirt.VIR_DOMAIN_AFFECT_LIVE,
                    )  # fmt: skip
                domain.XMLDesc()

            yield read

    return prepare


def snapshot_of_chain(images: int) -> Callable[[Side], Any]:
    """Prepare snapshots of such a disk."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, chain=images) as domain:
            _paused(domain)
            yield lambda number: _snapshot(domain, side, number)

    return prepare


def chain_rows() -> Iterator[Comparison]:
    """List the rows that show how times grow with a chain."""
    for images in CHAINS:
        what = f"a chain of {images}"
        start, snapshot = start_of_chain(images), snapshot_of_chain(images)
        yield Comparison(f"start + destroy on {what}", "<= 1", start, 6, 1)
        yield Comparison(f"snapshot on {what}", "<= 1", snapshot, 10, 2)
        yield Comparison(
            f"live XML of {what}", "<= 1", xml_of_chain(images, changed=False), 100, 20
        )
        yield Comparison(
            f"a change and the live XML of {what}", "<= 1", xml_of_chain(images, changed=True),
            20, 5,
        )  # fmt: skip


def _finish(domain: Any, flags: int) -> None:
    until = time.monotonic() + JOB_S
    while time.monotonic() < until:
        info = domain.blockJobInfo("vda", 0)
        if not info:
            return
        if info["cur"] == info["end"] and info["end"]:
            try:
                domain.blockJobAbort("vda", flags)
            except libvirt.libvirtError:
                time.sleep(0.01)  # it mirrors the last of it
                continue
            return
        time.sleep(0.005)
    raise TimeoutError("the block job does not end")


def commit(mib: int) -> Callable[[Side], Any]:
    """Prepare the commit of an overlay with so much data into its base, and the pivot."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, mib=mib) as domain:
            _paused(domain)

            def fill(number: int) -> None:
                _snapshot(domain, side, number)
                backend = "/machine/peripheral/virtio-disk0/virtio-backend"
                command = f'qemu-io -d {backend} "write -P 9 0 {mib}M"'
                hmp = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
                libvirt_qemu.qemuMonitorCommand(domain, command, hmp)
                if domain.blockInfo("vda")[1] < mib * MIB:
                    raise RuntimeError("the guest's disk was not written")
                os.sync()  # the other side would wait for it

            def run(number: int) -> Callable[[], object]:
                active = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
                domain.blockCommit("vda", None, None, 0, active)
                _finish(domain, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
                return lambda: fill(number + 1)

            fill(0)
            yield run

    return prepare


def copy(mib: int) -> Callable[[Side], Any]:
    """Prepare the copy of a disk with so much data to a new file."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side, mib=mib) as domain:
            _paused(domain)

            def run(number: int) -> Callable[[], object]:
                target = side.seen_as / NAME / f"copy{number}.qcow2"
                document = (
                    f"<disk type='file'><source file='{target}'/><driver type='qcow2'/></disk>"
                )
                domain.blockCopy("vda", document, flags=libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
                _finish(domain, 0)
                return (side.images / NAME / f"copy{number}.qcow2").unlink

            os.sync()
            yield run

    return prepare


def backup(*, pull: bool, checkpoint: bool) -> Callable[[Side], Any]:
    """Prepare the begin of a backup; its end is not timed."""

    @contextmanager
    def prepare(side: Side) -> Iterator[Action]:
        with guest(side) as domain:
            _paused(domain)
            folder = side.seen_as / NAME

            def end() -> None:
                until = time.monotonic() + JOB_S
                if pull:
                    domain.abortJob()
                while domain.jobInfo()[0] and time.monotonic() < until:
                    time.sleep(0.002)
                for made in (side.images / NAME).glob("backup*"):
                    made.unlink()

            def begin(number: int) -> Callable[[], object]:
                store = "scratch" if pull else "target"
                server = f"<server transport='unix' socket='{folder}/nbd'/>" if pull else ""
                document = (
                    f"<domainbackup mode='{'pull' if pull else 'push'}'>{server}<disks>"
                    f"<disk name='vda' type='file'><{store} file='{folder}/backup{number}'/></disk>"
                    "</disks></domainbackup>"
                )
                noted = f"<domaincheckpoint><name>c{number}</name></domaincheckpoint>"
                domain.backupBegin(document, noted if checkpoint else None)
                return end

            yield begin
            for made in domain.listAllCheckpoints():
                made.delete()

    return prepare


def comparisons(mib: int) -> list[Comparison]:
    """List the rows."""
    fetch = libvirt.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS
    return [
        Comparison("disk snapshot of a running guest", "<= 0.5", disk_snapshot(), 40, 5),
        Comparison(
            "disk snapshot without metadata", "<= 0.5", disk_snapshot(metadata=False), 40, 5
        ),
        Comparison("disk snapshot of three disks", "<= 0.5", disk_snapshot(disks=3), 20, 5),
        Comparison("internal snapshot of a running guest", "<= 1", internal_snapshot, 10, 1),
        Comparison(
            f"list of {LISTED} snapshots", "<= 0.7",
            of_list(lambda domain: domain.listAllSnapshots(0)), 60, 10,
        ),
        Comparison(
            "their names", "<= 0.7", of_list(lambda domain: domain.snapshotListNames(0)), 60, 10
        ),
        Comparison(
            "the list of their roots", "<= 0.7",
            of_list(lambda domain: domain.listAllSnapshots(fetch)), 60, 10,
        ),
        Comparison(
            "the list, with the XML of each (virsh's)", "<= 0.7",
            of_list(lambda domain: [one.getXMLDesc() for one in domain.listAllSnapshots(0)]), 6, 1,
        ),
        *chain_rows(),
        Comparison("begin of a push", "<= 0.7", backup(pull=False, checkpoint=False), 40, 5),
        Comparison("begin of a pull", "<= 0.7", backup(pull=True, checkpoint=False), 40, 5),
        Comparison(
            "begin of a pull with a checkpoint", "<= 0.7", backup(pull=True, checkpoint=True), 40, 5
        ),
        Comparison(f"copy of {mib} MiB", "<= 1", copy(mib), 3, 1),
        Comparison(f"commit of {mib} MiB, with the pivot", "<= 1", commit(mib), 3, 1),
    ]  # fmt: skip


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-stock", metavar="DIR", type=Path, nargs="?", const=CHROOT)
    parser.add_argument("--only", nargs="*", help="rows whose name contains one of these strings")
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    tempfile.tempdir = "/var/tmp"  # on a disk, as stock's files are
    sys.stdout.write(HEADER + "\n")
    with ExitStack() as stack:
        sides = [own_side(stack.enter_context(own_daemon()))]
        if options.with_stock:
            sides.append(stack.enter_context(Stock(options.with_stock)).side)
        for row in comparisons(options.mib):
            if not options.only or any(text in row.name for text in options.only):
                show(row, compare(row, sides))
    return 0


if __name__ == "__main__":
    sys.exit(main())
