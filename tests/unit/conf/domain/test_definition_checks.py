"""What QEMU can never run is refused when the domain is defined, with libvirt's code."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"


def disk(target: str, inside: str = "", attributes: str = "type='file' device='disk'") -> str:
    """A disk with that <target>."""
    return f"<disk {attributes}><source file='/a' dir='/a'/><target {target}/>{inside}</disk>"


def define(devices: str, facts: EmulatorFacts) -> None:
    """Define a domain with these devices."""
    domain = parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}</devices></domain>"
    )
    complete(domain, facts)


VDA = "dev='vda' bus='virtio'"
ALIAS = "<alias name='ua-d'/>"


@pytest.mark.parametrize(
    ("devices", "kind", "message"),
    [
        (disk(VDA, ALIAS) + disk("dev='vdb' bus='virtio'", ALIAS), "xml", "non unique alias"),
        (disk(VDA, "<boot order='0'/>"), "xml", "order"),
        (disk(VDA, attributes="type='file' device='cdrom'"), UNSUPPORTED, "ejectable"),
        (disk(VDA, attributes="type='dir' device='disk'"), UNSUPPORTED, "'fat'"),
        (disk(VDA, "<driver name='file'/>"), UNSUPPORTED, "unsupported driver name"),
        (disk(VDA, "<driver name='qemu' type='dir'/>"), UNSUPPORTED, "storage format"),
        (disk(VDA, "<iotune><total_iops_sec>9</total_iops_sec><read_iops_sec>9</read_iops_sec>"
              "</iotune>"), "xml", "total and read/write"),
        (disk(VDA, "<driver name='qemu' io='native'/>"), UNSUPPORTED, "native I/O"),
        (disk("dev='vda1' bus='virtio'"), "xml", "partitions"),
        (disk("dev='disk0' bus='virtio'"), "internal", "device name"),
        (disk("dev='hda' bus='ide'", "<readonly/>"), UNSUPPORTED, "readonly"),
        (disk("dev='hde' bus='ide'"), UNSUPPORTED, "single IDE"),
        (disk("dev='vda' bus='virtio' removable='on'"), UNSUPPORTED, "removable"),
        (disk(VDA, "<serial>A 1/!</serial>"), UNSUPPORTED, "unsafe"),
        (disk("dev='sda' bus='scsi'", "<wwn>12345678</wwn>"), "xml", "Malformed wwn"),
        ("<sound/>", "xml", "'model'"),
        ("<sound model='ich7'/>", UNSUPPORTED, "ich7"),
        ("<sound model='ich6'><audio id='2'/></sound><audio id='1' type='none'/>", "xml", "'2'"),
        ("<audio type='none'/>", "xml", "'id'"),
        ("<input/>", "xml", "'type'"),
        ("<input type='tablet' bus='ps2'/>", UNSUPPORTED, "ps2 bus"),
        ("<input type='passthrough' bus='usb'/>", UNSUPPORTED, "passthrough"),
        ("<rng model='virtio'/>", "xml", "RNG backend"),
        ("<tpm/>", "xml", "TPM device backend"),
        ("<tpm><backend/></tpm>", "xml", "backend type"),
        ("<watchdog/>", "xml", "'model'"),
        ("<watchdog model='i6300esb'/><watchdog model='ib700'/>", "xml", "single watchdog"),
        ("<panic model='pvpanic'/>", "xml", "pvpanic"),
        ("<vsock model='virtio'><cid auto='no' address='2'/></vsock>", UNSUPPORTED, "CID"),
        ("<shmem name='a/b'><model type='ivshmem-plain'/></shmem>", "xml", "shmem name"),
        ("<channel type='spicevmc'><target type='virtio'/></channel>", UNSUPPORTED, "spicevmc"),
        ("<interface type='user'><model type='virtio '/></interface>", "invalid_arg", "Model"),
        ("<interface type='network'><source/></interface>", "xml", "'network'"),
        ("<controller type='scsi' model='bogus'/>", UNSUPPORTED, "Unknown model type"),
        ("<memballoon model='virtio'/><memballoon model='none'/>", "xml", "memory balloon"),
    ],
)  # fmt: skip
def test_device_that_qemu_cannot_have_is_refused_at_definition(
    devices: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        define(devices, emulator_facts)
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "devices",
    [
        disk(VDA, "<driver name='qemu' io='native' cache='none'/><serial>A-1_2</serial>"),
        disk("dev='sda' bus='scsi'", "<wwn>0x5000c50015ea71ac</wwn><readonly/>"),
        disk("dev='hda' bus='ide'") + disk("dev='hdd' bus='ide'"),
        disk("dev='sda' bus='usb' removable='on'"),
        "<input type='tablet' bus='usb'/>",
        "<watchdog model='i6300esb'/>",
        "<vsock model='virtio'><cid auto='no' address='3'/></vsock>",
        "<controller type='scsi' model='virtio-scsi'/>",
    ],
)
def test_usual_device_is_defined(devices: str, emulator_facts: EmulatorFacts) -> None:
    define(devices, emulator_facts)


def test_interface_with_an_empty_mac_element_gets_an_address(
    emulator_facts: EmulatorFacts,
) -> None:
    domain = parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory><os><type machine='pc'>hvm</type>"
        "</os><devices><interface type='user'><mac/></interface></devices></domain>"
    )
    (interface,) = complete(domain, emulator_facts).devices.interfaces
    assert interface.mac
    assert interface.mac.startswith("52:54:00:")
