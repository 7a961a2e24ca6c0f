"""What a new snapshot may ask of disks and memory: libvirt's codes, in libvirt's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.devices.disk_chain import Layer, layers
from conf.domain.devices.source import Source
from conf.errors import ConfError
from conf.snapshot.align import align_disks
from conf.snapshot.model import Snapshot, SnapshotLocation, SnapshotMemory, SnapshotState
from conf.snapshot.snapshot_xml import parse_snapshot
from rpc.errors import ErrorCode, VirError
from supervisor.domd.snapshots.off_overlays import use_overlay
from supervisor.domd.snapshots.prepare import check_snapshot, refuse_mirrors

DISK = """<disk type='file' device='disk'><driver name='qemu' type='{form}'/>
<source file='/images/{name}.img'/><target dev='{name}' bus='virtio'/>{more}</disk>"""


def domain(*disks: str, loader: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os>"
        f"<type arch='x86_64' machine='pc'>hvm</type>{loader}</os>"
        f"<devices>{''.join(disks)}</devices></domain>"
    )


def is_regular(_: str) -> bool:
    """Whether a path is a regular file's."""
    return True


def disk(name: str = "vda", form: str = "qcow2", more: str = "") -> str:
    return DISK.format(name=name, form=form, more=more)


def check(
    model: Domain,
    xml: str,
    *,
    active: bool = True,
    reuse: bool = False,
    disk_only: bool = True,
) -> int:
    """Align and check a snapshot as its creation does; how many overlays there are."""
    snapshot = parse_snapshot(xml, redefine=False, offline=disk_only)
    snapshot.name = snapshot.name or "s"
    memory = snapshot.memory or SnapshotMemory()
    location = SnapshotLocation.EXTERNAL if disk_only else SnapshotLocation.INTERNAL
    if disk_only:
        memory.snapshot = SnapshotLocation.NO
        snapshot.state = SnapshotState.DISK_SNAPSHOT if active else SnapshotState.SHUTOFF
    else:
        memory.snapshot = SnapshotLocation.INTERNAL if active else SnapshotLocation.NO
        snapshot.state = SnapshotState.RUNNING if active else SnapshotState.SHUTOFF
    snapshot.memory = memory
    align_disks(snapshot, model, location, uniform=not disk_only, is_regular=is_regular)
    return check_snapshot(snapshot, model, active=active, reuse=reuse)


def refused(model: Domain, xml: str, kind: str, match: str, **options: bool) -> None:
    with pytest.raises(ConfError, match=match) as refusal:
        check(model, xml, **options)
    assert refusal.value.kind == kind


SNAPSHOT = "<domainsnapshot/>"


def one(item: str) -> str:
    return f"<domainsnapshot><disks>{item}</disks></domainsnapshot>"


def test_each_disk_that_takes_part_gets_an_overlay() -> None:
    both = domain(disk("vda"), disk("vdb", "raw"))
    assert check(both, SNAPSHOT) == 2
    assert check(both, one("<disk name='vdb' snapshot='no'/>")) == 1
    assert check(both, one("<disk name='vdb' snapshot='manual'/>")) == 2


def test_a_snapshot_of_nothing_is_refused() -> None:
    model = domain(disk())
    refused(model, one("<disk name='vda' snapshot='no'/>"), "config_unsupported", "nothing sel")


def test_memory_in_an_image_wants_every_disk() -> None:
    both = domain(disk("vda"), disk("vdb"))
    left_out = one("<disk name='vdb' snapshot='no'/>")
    match = "disk 'vdb' must use snapshot mode 'internal'"
    refused(both, left_out, "config_unsupported", match, disk_only=False)
    own_choice = domain(disk("vda"), disk("vdb").replace("<disk ", "<disk snapshot='no' "))
    match = "require all disks to be selected"
    refused(own_choice, SNAPSHOT, "config_unsupported", match, disk_only=False)


def test_an_image_that_holds_no_snapshots_is_refused() -> None:
    match = "unsupported for storage type raw"
    for active in (True, False):
        model = domain(disk(form="raw"))
        refused(model, SNAPSHOT, "config_unsupported", match, active=active, disk_only=False)


def test_overlays_are_qcow2_or_qed() -> None:
    item = "<disk name='vda'><driver type='{}'/><source file='/nowhere/o'/></disk>"
    model = domain(disk())
    for form in ("qcow2", "qed"):
        assert check(model, one(item.format(form))) == 1
    refused(model, one(item.format("raw")), "config_unsupported", "format for disk vda is unsup")


def test_an_overlay_replaces_no_other_image(tmp_path: Path) -> None:
    model = domain(disk())
    path = tmp_path / "overlay"
    item = one(f"<disk name='vda'><source file='{path}'/></disk>")
    assert check(model, item) == 1
    with pytest.raises(VirError, match="missing existing file for disk vda") as refusal:
        check(model, item, reuse=True)
    assert refusal.value.code is ErrorCode.SYSTEM_ERROR
    path.write_bytes(b"")  # one that was prepared for it
    assert check(model, item) == 1
    path.write_bytes(b"data")
    refused(model, item, "config_unsupported", "already exists and is not a block device")
    assert check(model, item, reuse=True) == 1


ENCRYPTION = (
    "<encryption format='luks'><secret type='passphrase' "
    "uuid='11111111-2222-4333-8444-555555555555'/></encryption>"
)


def test_qemu_alone_makes_an_encrypted_overlay(tmp_path: Path) -> None:
    model = domain(disk())
    path = tmp_path / "overlay"
    item = one(f"<disk name='vda'><source file='{path}'>{ENCRYPTION}</source></disk>")
    assert check(model, item) == 1
    refused(model, item, "config_unsupported", "cannot be encrypted while", active=False)
    path.write_bytes(b"made by qemu-img")
    assert check(model, item, active=False, reuse=True) == 1


def test_the_secret_of_an_encrypted_image_stays_with_it_below_an_overlay() -> None:
    plain, locked = (
        domain(disk()),
        domain(disk("vdb").replace("img'/>", f"img'>{ENCRYPTION}</source>")),
    )
    overlay = Layer(type="file", source=Source(file="/o"), format="qcow2")
    for model, length in ((plain, 1), (locked, 2)):
        changed = model.devices.disks[0]
        use_overlay(changed, overlay)
        assert len(layers(changed)) == length
        assert not changed.chain_ends()
    assert layers(locked.devices.disks[0])[1].source.encryption is not None


def test_a_shared_disk_has_no_snapshot() -> None:
    model = domain(disk(form="raw", more="<shareable/>"))
    refused(model, SNAPSHOT, "config_unsupported", "shared access for disk 'vda'")


def test_firmware_in_flash_has_no_snapshot_in_images() -> None:
    model = domain(disk(), loader="<loader readonly='yes' type='pflash'>/code.fd</loader>")
    refused(model, SNAPSHOT, "operation_unsupported", "pflash based firmware", disk_only=False)
    assert check(model, SNAPSHOT) == 1


def test_a_disk_that_is_being_copied_is_left_alone() -> None:
    mirror = "<mirror type='file' file='/copy' job='copy'><source file='/copy'/></mirror>"
    model = domain(disk(more=mirror))
    snapshot = Snapshot(name="s", state="disk-snapshot")
    align_disks(snapshot, model, SnapshotLocation.EXTERNAL, uniform=False, is_regular=is_regular)
    with pytest.raises(VirError, match="already in active block job") as refusal:
        refuse_mirrors(snapshot, model)
    assert refusal.value.code is ErrorCode.BLOCK_COPY_ACTIVE
