"""Which images a domain and its snapshots need, by their XML and by the images' headers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.devices.source import Source
from conf.moment.nested_domain import NestedDomain
from conf.snapshot.model import Snapshot, SnapshotDisk, SnapshotLocation
from supervisor.domd.snapshots.image_users import (
    UnknownChain,
    find_dependent,
    find_users,
    snapshot_inside,
)
from tests.unit.images.test_backing_chains import image

XML = """<domain type='qemu'><name>d</name><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>"""


def domain(path: Path) -> Domain:
    return parse_domain(XML.format(path=path))


def snapshot(name: str, was: Path, overlay: Path) -> Snapshot:
    """A snapshot of a disk on `was`, which put an overlay on it."""
    item = SnapshotDisk(
        name="vda",
        snapshot=SnapshotLocation.EXTERNAL,
        type="file",
        source=Source(file=str(overlay)),
    )
    taken = Snapshot(name=name, state="disk-snapshot", disks=[item])
    taken.domain = NestedDomain.of(domain(was))
    return taken


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    """base, one on it, two on that; headers alone."""
    paths = [tmp_path / name for name in ("base", "one", "two")]
    paths[0].write_bytes(image())
    for below, path in pairwise(paths):
        path.write_bytes(image(str(below), "qcow2"))
    return paths


def test_an_image_is_needed_by_name_and_by_the_header_of_one_above(chain: list[Path]) -> None:
    base, one, two = chain
    users = find_users([], [domain(two)])
    assert all(users.is_needed(str(path)) for path in chain)
    assert not find_users([], [domain(one)]).is_needed(str(two))
    assert [layer.path for layer in users.based_on(str(base))] == [str(one)]


def test_the_overlay_that_a_snapshot_lists_is_no_need(chain: list[Path]) -> None:
    base, one, _ = chain
    taken = snapshot("s", base, one)
    users = find_users([taken], [])
    assert users.is_needed(str(base))  # the domain in it consists of that
    assert not users.is_needed(str(one))
    assert [layer.path for layer in users.based_on(str(base))] == [str(one)]


def test_what_the_deleted_snapshot_alone_consists_of_is_not_needed(chain: list[Path]) -> None:
    base, one, _ = chain
    taken = snapshot("s", base, one)
    other = snapshot("t", base, one)
    assert not find_users([taken], [], but=taken).is_needed(str(base))
    assert find_users([taken, other], [], but=taken).is_needed(str(base))


def test_nothing_may_be_removed_while_a_needed_header_is_unreadable(chain: list[Path]) -> None:
    _, one, two = chain
    one.unlink()
    with pytest.raises(UnknownChain, match="one"):
        find_users([], [domain(two)])


def test_an_overlay_that_is_gone_keeps_nothing_from_being_deleted(chain: list[Path]) -> None:
    base, one, _ = chain
    gone = snapshot("s", base, one.with_name("gone"))
    assert not find_users([gone], [domain(base)]).is_needed(str(one))


def test_a_merge_that_a_death_interrupted_can_be_repeated(chain: list[Path]) -> None:
    base, one, two = chain
    doomed, child = snapshot("s", base, one), snapshot("t", one, two)
    two.write_bytes(image(str(base), "qcow2"))  # QEMU has merged the image and named what is left
    one.unlink()
    with pytest.raises(UnknownChain, match="one"):
        find_users([doomed, child], [domain(two)], but=doomed)
    doomed.is_deleted = True
    users = find_users([doomed, child], [domain(two)], but=doomed)
    assert users.is_needed(str(base))
    assert not users.is_needed(str(one))


def internal(name: str, was: Path) -> Snapshot:
    """A snapshot in the disk's image."""
    item = SnapshotDisk(name="vda", snapshot=SnapshotLocation.INTERNAL)
    taken = Snapshot(name=name, state="running", disks=[item])
    taken.domain = NestedDomain.of(domain(was))
    return taken


def test_reverting_into_an_image_would_change_snapshots_that_consist_of_it(
    chain: list[Path],
) -> None:
    base, one, two = chain
    inside = internal("i", base)
    for other in (snapshot("s", base, one), snapshot("t", one, two), internal("j", one)):
        assert find_dependent(inside, [inside, other]) == (other, str(base))


def test_reverting_into_an_image_changes_no_snapshot_in_it_or_below_it(chain: list[Path]) -> None:
    base, one, two = chain
    inside = internal("i", two)
    others = [internal("j", two), internal("k", one), snapshot("s", base, one)]
    assert find_dependent(inside, [inside, *others]) is None


def test_a_snapshot_is_inside_the_image_that_its_domain_wrote_to(chain: list[Path]) -> None:
    base, one, _ = chain
    inside = internal("i", one)
    snapshots = [snapshot("s", base, one), snapshot("t", one, one), inside]
    assert snapshot_inside(str(one), snapshots) is inside
    assert snapshot_inside(str(base), snapshots) is None
