"""What is recorded of a guest: compared with the records of Debian 12's libvirt."""

from __future__ import annotations

from typing import Final

import pytest

from conf.domain import Domain, parse_domain
from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import FreshBoot
from supervisor.runtime.audit import AuditLog, AuditRecord, RecordType
from supervisor.workers.audit.auditor import Auditor
from supervisor.workers.audit.resources import resources_of

UUID: Final = "00010203-0405-0607-0809-0a0b0c0d0e0f"
HEAD: Final = f'vm="web" uuid={UUID}'
XML: Final = f"""
<domain type='kvm'><name>web</name><uuid>{UUID}</uuid>
<memory unit='MiB'>128</memory><vcpu current='1'>2</vcpu><iothreads>1</iothreads>
<os><type>hvm</type></os><devices>
<disk type='file'><source file='/a.img'/><target dev='vda'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk>
<filesystem><source dir='/srv'/><target dir='srv'/></filesystem>
<interface type='user'><mac address='52:54:00:11:22:33'/></interface>
<hostdev mode='subsystem' type='pci'><source>
<address domain='0' bus='1' slot='2' function='3'/></source></hostdev>
<hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>
<redirdev bus='usb' type='spicevmc'/>
<serial type='pty'><source path='/dev/pts/9'/></serial><serial type='null'/>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>
<shmem name='shm0'><size unit='M'>4</size></shmem>
</devices><seclabel type='dynamic' model='dac'><label>+64055:+64055</label></seclabel></domain>
"""


class Records(AuditLog):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[AuditRecord] = []

    @property
    def is_enabled(self) -> bool:
        return True

    def write(self, record: AuditRecord) -> None:
        self.records.append(record)

    def taken(self) -> list[str]:
        """What was recorded since the last time, without what every record has."""
        texts = [record.text.replace(HEAD, "…") for record in self.records]
        self.records.clear()
        return texts


def changed(old: str, new: str) -> Domain:
    assert old in XML
    return parse_domain(XML.replace(old, new))


def test_a_start_records_the_label_each_resource_and_the_process() -> None:
    records = Records()
    Auditor(records).started(parse_domain(XML), 4711, FreshBoot())
    types = [record.type for record in records.records]
    assert (types[0], types[-1]) == (RecordType.VIRT_MACHINE_ID, RecordType.VIRT_CONTROL)
    start = "virt=kvm resrc={} reason=start …"
    assert records.taken() == [
        "virt=kvm … vm-ctx=+64055:+64055 img-ctx=+64055:+64055 model=dac",
        start.format("disk") + ' old-disk="?" new-disk="/a.img"',
        start.format("net") + ' old-net="?" new-net="52:54:00:11:22:33"',
        start.format("fs") + ' old-fs="?" new-fs="/srv"',
        start.format("dev") + ' bus=pci device="0000:01:02.3"',
        start.format("dev") + ' bus=usb device="001.004"',
        start.format("dev") + " bus=usb device=555342207265646972646576",
        start.format("chardev") + ' old-chardev="?" new-chardev="/dev/pts/9"',
        start.format("rng") + ' old-rng="?" new-rng="/dev/urandom"',
        start.format("tpm") + ' device="/dev/tpm0"',
        start.format("shmem") + " size=4194304 path=/dev/shm/shm0",
        start.format("mem") + " old-mem=0 new-mem=131072",
        start.format("vcpu") + " old-vcpu=0 new-vcpu=1",
        start.format("iothread") + " old-iothread=0 new-iothread=1",
        "virt=kvm op=start reason=booted … vm-pid=4711",
    ]


def test_a_failed_start_is_a_failure() -> None:
    records = Records()
    Auditor(records).not_started(XML, FreshBoot())
    assert not records.records[-1].success
    assert records.taken()[-1] == "virt=kvm op=start reason=booted … vm-pid=0"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "<target dev='sda'/>",
            "<source file='/c.iso'/><target dev='sda'/>",
            'disk reason=update … old-disk="?" new-disk="/c.iso"',
        ),
        (
            "<interface type='user'>",
            "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"
            "<interface type='user'>",
            'net reason=attach … old-net="?" new-net="52:54:00:00:00:01"',
        ),
        (
            "<disk type='file'><source file='/a.img'/><target dev='vda'/></disk>",
            "",
            'disk reason=detach … old-disk="/a.img" new-disk="?"',
        ),
        ("current='1'", "current='2'", "vcpu reason=update … old-vcpu=1 new-vcpu=2"),
        (
            "<iothreads>1</iothreads>",
            "",
            "iothread reason=update … old-iothread=1 new-iothread=0",
        ),
        ("<title/>", "", ""),
    ],
)
def test_each_change_of_the_live_xml_is_recorded_once(old: str, new: str, expected: str) -> None:
    records = Records()
    auditor = Auditor(records)
    auditor.started(parse_domain(XML), 1, FreshBoot())
    auditor.follow()
    records.records.clear()
    domain = changed(old, new) if expected else parse_domain(XML)
    auditor.changed("", domain)
    auditor.changed("", domain)
    assert records.taken() == ([f"virt=kvm resrc={expected}"] if expected else [])


def test_the_worker_that_reconnects_compares_with_the_xml_of_its_predecessor() -> None:
    records = Records()
    auditor = Auditor(records)
    auditor.follow()
    auditor.changed(XML, changed("current='1'", "current='2'"))
    assert records.taken() == ["virt=kvm resrc=vcpu reason=update … old-vcpu=1 new-vcpu=2"]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (DomainShutoffReason.SHUTDOWN, "shutdown"),
        (DomainShutoffReason.DESTROYED, "destroyed"),
        (DomainShutoffReason.SAVED, "saved"),
        (DomainShutoffReason.CRASHED, "failed"),
        (DomainShutoffReason.FROM_SNAPSHOT, "from-snapshot"),
    ],
)
def test_an_end_has_libvirts_reason(reason: DomainShutoffReason, word: str) -> None:
    records = Records()
    Auditor(records).stopped("web", UUID, XML.lstrip(), reason)
    assert records.taken() == [f"virt=kvm op=stop reason={word} … vm-pid=0"]


def test_a_device_that_could_not_be_attached_is_a_failure() -> None:
    records = Records()
    disk = "<disk type='file'><source file='/b.img'/><target dev='vdb'/></disk>"
    Auditor(records).not_attached("web", UUID, XML.lstrip(), disk)
    assert [record.success for record in records.records] == [False]
    expected = 'virt=kvm resrc=disk reason=attach … old-disk="?" new-disk="/b.img"'
    assert records.taken() == [expected]


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("misc", "<char>/dev/zero</char>", 'chardev="/dev/zero"'),
        ("storage", "<block>/dev/sdb</block>", 'disk="/dev/sdb"'),
    ],
)
def test_a_containers_device_is_named_by_its_path(kind: str, source: str, expected: str) -> None:
    records = Records()
    device = f"<hostdev mode='capabilities' type='{kind}'><source>{source}</source></hostdev>"
    Auditor(records).not_attached("web", UUID, "<domain type='lxc'>", device)
    assert records.taken() == [f"virt=lxc resrc=hostdev reason=attach … {expected}"]


def test_a_record_that_cannot_be_made_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    auditor = Auditor(Records())
    auditor.follow()
    auditor.changed("<rubbish", parse_domain(XML))
    assert "an audit record is missing" in caplog.text


def test_what_a_start_does_to_the_xml_is_no_change() -> None:
    records = Records()
    Auditor(records).changed("", parse_domain(XML))
    assert not records.taken()


def test_nothing_is_parsed_where_nothing_is_recorded() -> None:
    auditor = Auditor(AuditLog())
    auditor.follow()
    auditor.changed("<rubbish", parse_domain(XML))
    auditor.stopped("web", UUID, "<rubbish", DomainShutoffReason.SHUTDOWN)


def test_a_drive_without_a_medium_is_known_but_not_recorded() -> None:
    assert resources_of(parse_domain(XML))["disk", "sda"].value == ""


def test_a_failed_start_whose_xml_cannot_be_read_is_no_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    records = Records()
    Auditor(records).not_started("<rubbish", FreshBoot())
    assert not records.records
    assert "missing" not in caplog.text
