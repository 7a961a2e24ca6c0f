"""<domaincheckpoint>: what is read, refused, completed and written."""

from __future__ import annotations

import pytest

from conf.checkpoint.align import align_disks, check_new, name_bitmaps
from conf.checkpoint.checkpoint_xml import format_checkpoint, parse_checkpoint, parse_stored
from conf.checkpoint.model import Checkpoint
from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from conf.moment.nested_domain import NestedDomain


def domain(*disks: str) -> Domain:
    """A domain with these disks."""
    return parse_domain(
        "<domain type='kvm'><name>x</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{''.join(disks)}<graphics type='vnc' passwd='secret'/></devices></domain>"
    )


def disk(target: str, form: str = "qcow2", more: str = "", bus: str = "virtio") -> str:
    """One disk."""
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{form}'/>"
        f"<source file='/i/{target}'/><target dev='{target}' bus='{bus}'/>{more}</disk>"
    )


EMPTY = "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>"
FOUR = domain(disk("vda"), disk("vdb", "raw"), disk("vdc", more="<readonly/>"), EMPTY)


def checkpoint(disks: str = "", name: str = "c1") -> Checkpoint:
    """A checkpoint as a client describes it."""
    part = f"<disks>{disks}</disks>" if disks else ""
    return parse_checkpoint(f"<domaincheckpoint><name>{name}</name>{part}</domaincheckpoint>")


def aligned(disks: str = "") -> list[tuple[str, str, str | None]]:
    """How each disk takes part."""
    made = checkpoint(disks)
    align_disks(made, FOUR)
    return [(item.name, item.checkpoint, item.bitmap) for item in made.disks]


def test_without_disks_every_writable_one_takes_part() -> None:
    assert aligned() == [
        ("vda", "bitmap", "c1"),
        ("vdb", "bitmap", "c1"),
        ("vdc", "no", None),
        ("hdc", "no", None),
    ]


def test_named_disks_alone_take_part_also_by_their_paths() -> None:
    assert [item for item in aligned("<disk name='/i/vda' size='5'/>") if item[1] != "no"] == [
        ("vda", "bitmap", "c1")
    ]
    assert all(item[1] == "no" for item in aligned("<disk name='vda' checkpoint='no'/>"))


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        ("<disk name='vdz'/>", "no disk named 'vdz'"),
        ("<disk name='vda'/><disk name='/i/vda'/>", "disk '/i/vda' specified twice"),
        ("<disk name='vdc'/>", "disk 'vdc' is empty or readonly"),
        ("<disk name='hdc'/>", "disk 'hdc' is empty or readonly"),
        ("<disk name='vda'/>" * 5, "too many disk checkpoint requests for domain"),
    ],
)
def test_disks_that_cannot_take_part_are_refused(disks: str, why: str) -> None:
    with pytest.raises(ConfError, match=why) as refused:
        aligned(disks)
    assert refused.value.kind == "config_unsupported"


def test_a_domain_without_disks_has_no_checkpoint() -> None:
    with pytest.raises(ConfError, match="must have at least one disk"):
        align_disks(checkpoint(), domain())


@pytest.mark.parametrize(
    ("disks", "kind", "why"),
    [
        ("<disk name='vdb'/>", "config_unsupported", "vdb unsupported for storage type raw"),
        ("<disk name='vda' bitmap='b'/>", "config_unsupported", "must match checkpoint name 'c1'"),
        ("<disk name='sda'/>", "operation_unsupported", "not supported on disk 'sda'"),
    ],
)
def test_a_new_checkpoint_needs_images_that_keep_bitmaps(disks: str, kind: str, why: str) -> None:
    made, of = checkpoint(disks), domain(disk("vda"), disk("vdb", "raw"), disk("sda", bus="sd"))
    align_disks(made, of)
    with pytest.raises(ConfError, match=why) as refused:
        check_new(made, of)
    assert refused.value.kind == kind


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a b", "\n"])
def test_a_name_that_is_no_files_is_refused(name: str) -> None:
    with pytest.raises(ConfError, match="invalid checkpoint name") as refused:
        checkpoint(name=name)
    assert refused.value.kind == "xml_invalid_schema"


def test_a_file_gives_the_checkpoint_again_and_passwords_are_shown_on_request_alone() -> None:
    made = checkpoint("<disk name='vda'/>")
    made.creation_time, made.parent, made.description = 1000, "c0", "first"
    made.domain = NestedDomain.of(FOUR)
    align_disks(made, FOUR)
    text = format_checkpoint(made, secure=True)
    again = parse_stored(f"<!-- header -->\n{text}")
    assert again == made
    assert format_checkpoint(again, secure=True) == text
    assert "secret" in text
    assert "secret" not in format_checkpoint(again)
    assert "<domain " not in format_checkpoint(again, domain=False)


def test_a_size_is_written_and_never_read() -> None:
    made = parse_stored(
        "<domaincheckpoint><name>c</name><creationTime>5</creationTime>"
        "<disks><disk name='vda' size='77'/></disks></domaincheckpoint>"
    )
    name_bitmaps(made)
    assert made.disks[0].size is None
    made.disks[0].size = 65536
    shown = "<disk name='vda' checkpoint='bitmap' bitmap='c' size='65536'/>"
    assert shown in format_checkpoint(made)


@pytest.mark.parametrize("time", ["", "<creationTime>soon</creationTime>"])
def test_a_redefined_checkpoint_says_when_it_was_made(time: str) -> None:
    xml = f"<domaincheckpoint><name>c</name>{time}</domaincheckpoint>"
    with pytest.raises(ConfError, match="missing creationTime") as refused:
        parse_checkpoint(xml, redefine=True)
    assert refused.value.kind == "internal"
    with pytest.raises(ConfError, match="a redefined checkpoint must have a name"):
        parse_checkpoint(xml.replace("<name>c</name>", ""), redefine=True)


def test_a_checkpoint_of_the_epochs_first_second_is_read_again() -> None:
    made = checkpoint()
    made.creation_time = 0
    text = format_checkpoint(made)
    assert "creationTime" not in text  # as libvirt
    assert parse_stored(text).creation_time == 0
