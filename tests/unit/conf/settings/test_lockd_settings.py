"""qemu-lockd.conf."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.settings import parse_lockd_config, parse_qemu_config


def test_images_are_locked_themselves_by_default() -> None:
    config = parse_lockd_config(b"", "f")
    assert config.auto_disk_leases
    assert not config.requires_leases
    assert config.file_lockspace_dir == ""


def test_leases_are_demanded_where_images_are_not_locked_automatically() -> None:
    assert parse_lockd_config(b"auto_disk_leases = 0", "f").requires_leases
    both = b"auto_disk_leases = 0\nrequire_lease_for_disks = 0"
    assert not parse_lockd_config(both, "f").requires_leases
    assert parse_lockd_config(b"require_lease_for_disks = 1", "f").requires_leases


@pytest.mark.parametrize(
    "text",
    [
        b'lvm_lockspace_dir = "/x"',
        b'scsi_lockspace_dir = "/x"',
        b'file_lockspace_dir = "x"',
        b"auto_disk_leases = 2",
        b"bogus = 1",
    ],
)
def test_what_cannot_be_is_refused(text: bytes) -> None:
    with pytest.raises(ConfError, match=r"^f:"):
        parse_lockd_config(text, "f")


def test_the_settings_have_a_file_of_their_own() -> None:
    with pytest.raises(ConfError, match="there is no setting 'lockd'"):
        parse_qemu_config(b'lockd = "x"', "f")
