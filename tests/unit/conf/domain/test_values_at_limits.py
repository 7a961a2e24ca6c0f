"""Values at their limits, and elements that say nothing: as a stock libvirtd 9.0 has them."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

DOMAIN = (
    "<domain type='qemu'><name>limits</name><memory>65536</memory>"
    "<os><type arch='x86_64' machine='pc'>hvm</type></os>{}<devices>{}</devices></domain>"
)
DISK = "<disk type='network'><driver name='qemu'/>{}<target dev='vda' bus='virtio'/></disk>"
HTTP = (
    "<source protocol='http' name='x'><host name='h' port='{}'/>"
    "<cookies><cookie name='key'>{}</cookie></cookies></source>"
)
INTERFACE = "<interface type='user'>{}</interface>"


def written(outside: str = "", devices: str = "", *, secure: bool = True) -> str:
    return format_domain(parse_domain(DOMAIN.format(outside, devices)), secure=secure)


@pytest.mark.parametrize(
    ("outside", "devices"),
    [
        ("<memtune><hard_limit/></memtune>", ""),
        ("<maxMemory/>", ""),
        ("<features><smm state='on'><tseg/></smm></features>", ""),
        ("<numatune><memory/></numatune>", ""),
        ("<defaultiothread/>", ""),
        ("<cputune><period>0</period><shares>0</shares></cputune>", ""),
        ("<blkiotune><weight>0</weight></blkiotune>", ""),
        ("<memoryBacking><source type=''/></memoryBacking>", ""),
        ("<os><bootmenu enable='no' timeout='x'/></os>", ""),
        ("", DISK.format("<source protocol='nbd'/><iotune/><blockio logical_block_size='0'/>")),
        (
            "",
            DISK.format(
                "<source protocol='nbd'/><iotune><read_iops_sec>0</read_iops_sec></iotune>"
            ),
        ),
        ("", INTERFACE.format("<bandwidth/><rom/>")),
        ("", INTERFACE.format("<bandwidth><inbound average='0'/></bandwidth>")),
        ("", INTERFACE.format("<driver><host/><guest/></driver><link state=''/>")),
        ("", "<audio id='1' type='none'><input/><output/></audio>"),
        ("", "<rng model='virtio'><rate bytes='0'/><backend model='random'/></rng>"),
        ("", "<iommu model='intel'><driver aw_bits='0'/></iommu>"),
        ("", "<redirfilter/>"),
    ],
)
def test_what_says_nothing_is_not_written(outside: str, devices: str) -> None:
    nothing = (
        "memtune", "maxMemory", "tseg", "numatune", "defaultiothread", "cputune", "blkiotune",
        "memoryBacking", "timeout", "iotune", "blockio", "bandwidth", "<rom", "<host/", "<guest",
        "<link", "<input", "<output", "<rate", "<driver", "redirfilter",
    )  # fmt: skip
    text = written(outside, devices).replace("<driver name='qemu'/>", "")
    assert [word for word in nothing if word in text] == []


@pytest.mark.parametrize(
    ("devices", "kind"),
    [
        (INTERFACE.format("<bandwidth><inbound/></bandwidth>"), "xml_detail"),
        (INTERFACE.format("<vlan><tag id='0x10'/></vlan>"), "xml"),
        (DISK.format(HTTP.format("-0", "a")), "invalid_arg"),
        (DISK.format(HTTP.format("80", "a b")), "xml"),
        (DISK.format("<source protocol='http' name='x'><host port='1'/></source>"), "xml"),
        ("<controller type='usb' index='5 '/>", "xml"),
        ("<video><model type='virtio'><acceleration/></model></video>", "config_unsupported"),
        ("<redirfilter/><redirfilter/>", "internal"),
        ("<input type='evdev'><source grab='all'/></input>", "xml"),
        ("<audio id='1' type='sdl' driver='bogus'/>", "xml"),
        (
            "<serial type='pty'><target><model name='bogus'/></target></serial>",
            "config_unsupported",
        ),
        (
            "<redirdev bus='usb'><source mode='connect' host='h' service='1'/></redirdev>",
            "internal",
        ),
        ("<graphics type='vnc' port='4294967295'/>", "internal"),
    ],
)
def test_what_libvirt_does_not_read_is_refused(devices: str, kind: str) -> None:
    with pytest.raises(ConfError) as refused:
        written(devices=devices)
    assert refused.value.kind == kind


def test_second_element_is_refused_where_there_is_one() -> None:
    for outside, words in (
        ("<genid/><genid/>", "genid"),
        ("<numatune/><numatune/>", "numatune"),
        ("<cputune><emulatorpin cpuset='1'/></cputune>" * 2, "emulatorpin"),
    ):
        with pytest.raises(ConfError, match=words):
            written(outside)


def test_values_have_their_usual_form() -> None:
    uuid = "0A81F5B2-8403-7B23-C8D6-21CCC2F80F77"
    auth = f"<auth username='u'><secret type='iscsi' uuid='{uuid}'/></auth>"
    source = f"<source protocol='iscsi' name='i/1'><host name='h' port='+050'/>{auth}</source>"
    text = written(
        "<features><smm state='on'><tseg unit='KiB'>2048</tseg></smm></features>"
        "<clock offset='variable' adjustment='5x'/>",
        DISK.format(source) + INTERFACE.format("<model type='RTL8139'/>"),
    )
    for part in (
        "<tseg unit='MiB'>2</tseg>",
        "adjustment='0'",
        f"uuid='{uuid.lower()}'",
        "port='50'",
        "<model type='rtl8139'/>",
    ):
        assert part in text


def test_cookies_are_secret() -> None:
    disk = DISK.format(HTTP.format("80", "hidden"))
    assert "hidden" in written(devices=disk)
    assert "cookie" not in written(devices=disk, secure=False)


def test_second_features_element_counts_too() -> None:
    assert "<pae/>" in written("<features/><features><pae/></features>")
    assert "<smm state='on'/>" in written("<features><smm/></features>" * 2)


def test_usb_controllers_share_an_index_only_as_parts_of_one(emulator_facts: EmulatorFacts) -> None:
    parts = "<controller type='usb' index='0' model='ich9-ehci1'/>"
    other = "<controller type='usb' index='0' model='qemu-xhci'/>"
    uhci = (
        "<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>"
    )
    complete(parse_domain(DOMAIN.format("", parts + uhci)), emulator_facts)
    with pytest.raises(ConfError, match="Duplicate USB controllers with index 0"):
        complete(parse_domain(DOMAIN.format("", parts + other)), emulator_facts)


def test_firmware_entries_are_checked_and_the_uuid_has_its_usual_form() -> None:
    for entry in ("<entry/>", "<entry name='opt/x'> </entry>"):
        with pytest.raises(ConfError, match="Firmware entry"):
            written(f"<sysinfo type='fwcfg'>{entry}</sysinfo>")
    uuid = "C7A5FDBD-EDAF-9455-926A-D65C16DB1809"
    system = "<sysinfo type='smbios'><system><entry name='uuid'>{}</entry></system></sysinfo>"
    assert uuid.lower() in written(system.format(uuid))
    with pytest.raises(ConfError, match="malformed <sysinfo> uuid"):
        written(system.format("bogus"))


def test_copy_of_a_disk_in_a_definition_is_not_looked_at() -> None:
    mirror = "<mirror type='bogus' job='x'><format type='y'/></mirror>"
    text = written(devices=DISK.format(f"<source protocol='nbd'/>{mirror}"))
    assert "mirror" not in text


def test_passthrough_tpm_is_the_first_of_the_host() -> None:
    assert "<device path='/dev/tpm0'/>" in written(
        devices="<tpm model='tpm-tis'><backend type='passthrough'><source/></backend></tpm>"
    )


def test_drive_without_a_source_is_of_type_file() -> None:
    # Only the document inside a snapshot can have such a disk: it is not validated.
    disk = "<disk type='block' device='disk'><target dev='vda' bus='virtio'/></disk>"
    assert "<disk type='file' device='disk'>" in written(devices=disk)
