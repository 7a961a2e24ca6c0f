"""<domainbackup> is read, completed with the guest's disks and written as a stock daemon does."""

from __future__ import annotations

import pytest

from conf.backup.align import align_disks, prepare_server
from conf.backup.model import Backup, format_backup, parse_backup, read_backup
from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from conf.mapper import parse_root

DOMAIN = """<domain type='qemu'><name>g</name><memory>65536</memory>
<os><type arch='x86_64'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/b'/>
<target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/i/c.raw'/>
<target dev='vdc' bus='virtio'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>
</devices></domain>"""
SERVER = "<server transport='unix' socket='/run/nbd'/>"


@pytest.fixture(scope="module")
def domain() -> Domain:
    """A guest with a file, a device, a read-only image and an empty drive."""
    return parse_domain(DOMAIN)


def aligned(domain: Domain, xml: str) -> Backup:
    """A client's document, completed."""
    backup = parse_backup(parse_root(Backup, xml))
    prepare_server(backup)
    align_disks(backup, domain, "77")
    return backup


def push(inside: str) -> str:
    """A document of a push."""
    return f"<domainbackup mode='push'>{inside}</domainbackup>"


def pull(inside: str) -> str:
    """A document of a pull."""
    return f"<domainbackup mode='pull'>{inside}</domainbackup>"


def test_disks_that_are_not_listed_are_left_out(domain: Domain) -> None:
    listed = "<disks><disk name='vda' type='file'><target file='/t'/></disk></disks>"
    assert format_backup(aligned(domain, push(listed))) == (
        "<domainbackup mode='push'>\n"
        "  <disks>\n"
        "    <disk name='vda' backup='yes' type='file' backupmode='full'>\n"
        "      <driver type='qcow2'/>\n"
        "      <target file='/t'/>\n"
        "    </disk>\n"
        "    <disk name='vdb' backup='no'/>\n"
        "    <disk name='vdc' backup='no'/>\n"
        "    <disk name='hda' backup='no'/>\n"
        "  </disks>\n"
        "</domainbackup>\n"
    )


def test_without_a_list_every_written_disk_is_backed_up_beside_its_image() -> None:
    only_file = parse_domain(
        DOMAIN.replace("type='block'", "type='file'").replace("dev='/", "file='/")
    )
    backup = aligned(only_file, "<domainbackup/>")
    assert [(disk.name, disk.store.file) for disk in backup.selected] == [
        ("vda", "/i/a.qcow2.77"),
        ("vdb", "/dev/b.77"),
    ]


def test_a_device_gets_no_name_of_a_file(domain: Domain) -> None:
    with pytest.raises(ConfError, match="refusing to generate file name for disk 'vdb'"):
        aligned(domain, "<domainbackup/>")


def test_a_pull_exports_the_changes_under_the_names_of_the_disks(domain: Domain) -> None:
    disks = (
        "<disks><disk name='vda' type='file'><scratch file='/s'/></disk><disk name='vdc' "
        "backupmode='full' type='file' exportname='x'><scratch file='/u'/></disk></disks>"
    )
    text = pull(f"<incremental>c1</incremental>{SERVER}{disks}")
    backup = aligned(domain, text)
    first, second = backup.selected
    assert (first.export_name, first.export_bitmap, first.incremental) == (
        "vda",
        "backup-vda",
        "c1",
    )
    assert (second.export_name, second.export_bitmap, second.incremental) == ("x", None, None)
    first.index = 9
    written = format_backup(backup)
    assert "exportname='vda' exportbitmap='backup-vda' index='9'" in written
    assert format_backup(read_backup(written)) == written


def test_a_server_listens_on_tcp_unless_it_says_otherwise(domain: Domain) -> None:
    disks = "<disks><disk name='vda'/></disks>"
    server = "<server name='localhost' port='10809'/>"
    written = format_backup(aligned(domain, pull(f"{server}{disks}")))
    assert "<server transport='tcp' name='localhost' port='10809'/>" in written
    with pytest.raises(ConfError, match="must specify TCP port") as refused:
        aligned(domain, pull(f"<server name='localhost'/>{disks}"))
    assert refused.value.kind == "operation_unsupported"


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        ("<domainbackup mode='x'/>", "config_unsupported", "unknown backup mode 'x'"),
        (push(SERVER), "xml", "use of <server> requires pull mode backup"),
        (push("<disks><disk/></disks>"), "xml", "missing name from disk backup element"),
        (push("<disks><disk name='vdz'/></disks>"), "config_unsupported", "no disk named 'vdz'"),
        (
            push("<disks><disk name='vda'/><disk name='vda'/></disks>"),
            "config_unsupported",
            "disk 'vda' specified twice",
        ),
        (
            push("<disks><disk name='hda'/></disks>"),
            "config_unsupported",
            "disk 'hda' has no media",
        ),
        (
            push("<disks><disk name='vda' backupmode='incremental'/></disks>"),
            "config_unsupported",
            "'incremental' backup mode of disk 'vda' requires setting 'incremental' field",
        ),
        (
            push("<disks><disk name='vda' type='network'/></disks>"),
            "xml",
            "unsupported disk backup type 'network'",
        ),
        (
            push("<disks><disk name='vda'><driver type='x'/></disk></disks>"),
            "xml",
            "unknown disk backup driver 'x'",
        ),
        (
            pull(f"{SERVER}<disks><disk name='vda'><driver type='raw'/></disk></disks>"),
            "xml",
            "pull mode requires qcow2 driver, not 'raw'",
        ),
        (
            pull("<server transport='unix' socket='x'/>"),
            "xml",
            "backup socket path 'x' must be absolute",
        ),
        (pull("<server transport='rdma' name='h'/>"), "config_unsupported", "transport rdma"),
    ],
)
def test_what_cannot_be_is_refused(domain: Domain, xml: str, kind: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        aligned(domain, xml)
    assert refused.value.kind == kind


def test_a_full_disk_of_an_incremental_backup_has_no_checkpoint(domain: Domain) -> None:
    disk = (
        "<disks><disk name='vda' type='file' backupmode='full'><target file='/t'/></disk></disks>"
    )
    backup = aligned(domain, push(f"<incremental>c</incremental>{disk}"))
    assert backup.selected[0].incremental is None
