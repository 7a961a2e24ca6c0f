"""Devices that are added to a definition: which cannot be, and what the guest and it share."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.device_list import add_device, check_persistent_attach
from conf.domain.device_xml import parse_device, with_mac
from conf.domain.devices.interface import Interface
from conf.errors import ConfError

FOLDER = "<filesystem type='mount'><source dir='/tmp'/><target dir='x'/></filesystem>"
SCSI = "<controller type='scsi' index='3'/>"
CONSOLE = "<console type='pty'><target type='virtio'/></console>"
MEMORY = "<memory model='dimm'><target><size unit='MiB'>32</size></target></memory>"


def domain(devices: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>65536</memory>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


@pytest.mark.parametrize(
    ("present", "added", "kind", "message"),
    [
        ("", "<graphics type='vnc'/>", "operation_unsupported", "persistent attach of device 'gra"),
        ("", "<panic model='isa'/>", "operation_unsupported", "device 'panic' is not supported"),
        ("", "<tpm><backend type='emulator'/></tpm>", "operation_unsupported", "'tpm'"),
        ("", "<memballoon model='virtio'/>", "operation_unsupported", "'memballoon'"),
        ("", "<console type='pty'/>", "operation_unsupported", "attaching serial console"),
        ("", MEMORY, "config_unsupported", "'maxMemory' is not defined"),
        ("<watchdog model='ib700'/>", "<watchdog model='i6300esb'/>", "operation_invalid", "has a"),
        (FOLDER, FOLDER, "operation_invalid", "Target already exists"),
        (SCSI, SCSI, "operation_invalid", "controller index='3' already exists"),
    ],
)
def test_a_device_that_no_definition_can_get_is_refused(
    present: str, added: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        check_persistent_attach(domain(present), *parse_device(added))
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "added",
    [
        "<sound model='ich9'/>",
        FOLDER,
        SCSI,
        "<console type='pty'><target type='virtio'/></console>",
    ],
)
def test_others_are_added(added: str) -> None:
    subject = domain()
    check_persistent_attach(subject, *parse_device(added))
    add_device(subject, *parse_device(added))


def test_an_interface_without_address_gets_one_that_all_readers_share() -> None:
    completed = with_mac("<interface type='user'><model type='e1000'/></interface>")
    _, first = parse_device(completed)
    assert isinstance(first, Interface)
    assert first.mac
    assert parse_device(completed) == ("interface", first)
    assert with_mac(completed) == completed
