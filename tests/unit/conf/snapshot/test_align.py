"""Each disk of a domain takes part in a snapshot in one way, and overlays get names."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from conf.snapshot.align import align_disks
from conf.snapshot.model import Snapshot, SnapshotLocation
from conf.snapshot.snapshot_xml import parse_snapshot


def domain(*disks: str) -> Domain:
    """A domain with these disks."""
    return parse_domain(
        "<domain type='kvm'><name>x</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{''.join(disks)}</devices></domain>"
    )


def disk(target: str, source: str = "", attributes: str = "") -> str:
    """One disk."""
    place = f"<source file='{source}'/>" if source else ""
    return f"<disk type='file' device='disk'{attributes}>{place}<target dev='{target}'/></disk>"


def snapshot(disks: str = "") -> Snapshot:
    """A snapshot as a client describes it."""
    return parse_snapshot(f"<domainsnapshot><name>s</name><disks>{disks}</disks></domainsnapshot>")


def align(
    of: Domain, disks: str = "", default: SnapshotLocation = SnapshotLocation.EXTERNAL
) -> list[tuple[str, str | None, str]]:
    """How each disk takes part."""
    found = snapshot(disks)
    align_disks(
        found,
        of,
        default,
        uniform=default is SnapshotLocation.INTERNAL,
        is_regular=lambda path: not path.startswith("/dev"),
    )
    return [(item.name, item.snapshot, item.path) for item in found.disks]


PAIR = domain(disk("vda", "/i/a.qcow2"), disk("vdb", "/i/b"), disk("hdc"))


def test_every_disk_with_an_image_gets_an_overlay_named_after_it() -> None:
    assert align(PAIR) == [
        ("vda", "external", "/i/a.s"),
        ("vdb", "external", "/i/b.s"),
        ("hdc", "no", ""),
    ]


def test_a_disk_is_named_by_target_or_path_and_the_domain_says_its_default() -> None:
    excluded = domain(disk("vda", "/i/a"), disk("vdb", "/i/b", " snapshot='no'"))
    assert align(excluded, "<disk name='/i/a'><source file='/o/x'/></disk>") == [
        ("vda", "external", "/o/x"),
        ("vdb", "no", ""),
    ]


@pytest.mark.parametrize(
    ("disks", "message"),
    [
        ("<disk name='vdz'/>", "no disk named 'vdz'"),
        ("<disk name='vda'/><disk name='/i/a.qcow2'/>", "disk '/i/a.qcow2' specified twice"),
        ("<disk name='vda'/>" * 4, "too many disk snapshot requests for domain"),
        (
            "<disk name='vda' snapshot='internal'><source file='/x'/></disk>",
            "file '/x' for disk 'vda' requires use of external snapshot mode",
        ),
        ("<disk name='vda' type='block'/>", "cannot generate external snapshot name"),
        ("<disk name='vda' snapshot='external'><source file='/i/b.s'/></disk>", "cannot generate"),
    ],
)
def test_what_cannot_be_is_refused(disks: str, message: str) -> None:
    with pytest.raises(ConfError) as refused:
        align(PAIR, disks)
    assert refused.value.kind == "config_unsupported"
    assert refused.value.message.startswith(message)


def test_an_image_that_is_no_regular_file_gives_no_name() -> None:
    with pytest.raises(ConfError, match="is not a regular file"):
        align(domain(disk("vda", "/dev/sda")))


def test_an_internal_snapshot_takes_all_disks() -> None:
    internal = SnapshotLocation.INTERNAL
    assert [item[1] for item in align(PAIR, default=internal)] == ["internal", "internal", "no"]
    with pytest.raises(ConfError, match="disk 'vda' must use snapshot mode 'internal'"):
        align(PAIR, "<disk name='vda' snapshot='external'/>", internal)
