"""What libvirt leaves out of a domain's document: empty elements, attributes of other types."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts


def written(
    facts: EmulatorFacts, inside: str = "", devices: str = "", os: str = "", *, settled: bool = True
) -> str:
    """The completed document; `settled`: it does not change when it is completed again."""
    document = (
        "<domain type='qemu'><name>d</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type>{os}</os>{inside}"
        f"<devices>{devices}</devices></domain>"
    )
    text = format_domain(complete(parse_domain(document), facts))
    again = format_domain(complete(parse_domain(text), facts))
    assert again == text or not settled
    return text


@pytest.mark.parametrize(
    "element",
    ["blkiotune", "cputune", "features", "keywrap", "memoryBacking", "memtune", "numatune", "pm"],
)
def test_empty_element_is_left_out(element: str, emulator_facts: EmulatorFacts) -> None:
    assert f"<{element}" not in written(emulator_facts, f"<{element}/>")


def test_empty_text_is_no_element(emulator_facts: EmulatorFacts) -> None:
    text = written(
        emulator_facts,
        "<uuid/><currentMemory/><iothreads/><on_crash/><on_reboot/><bootloader/>",
        os="<kernel/><init/>",
    )
    assert "<on_crash>destroy</on_crash>" in text
    assert "<currentMemory unit='KiB'>65536</currentMemory>" in text
    assert "<on_reboot>restart</on_reboot>" in text
    assert all(f"<{name}" not in text for name in ("iothreads", "bootloader", "kernel", "init"))


def test_boot_devices_of_a_second_os_element_count(emulator_facts: EmulatorFacts) -> None:
    text = written(emulator_facts, "<os><boot dev='fd'/></os>", os="<boot dev='cdrom'/>")
    assert text.index("<boot dev='cdrom'/>") < text.index("<boot dev='fd'/>")


@pytest.mark.parametrize(
    ("device", "kept", "dropped"),
    [
        ("<controller type='usb' index='0' vectors='4'><target chassis='3'/></controller>",
         "<controller type='usb' index='0'", "vectors"),
        ("<controller type='virtio-serial' index='1' vectors='4'><model name='pci-bridge'/>"
         "</controller>",
         "type='virtio-serial' index='1' vectors='4'", "<model name"),
        ("<disk type='block'><source dev='/dev/s' volume='v'/><target dev='hda'/></disk>",
         "<source dev='/dev/s'/>", "volume="),
        ("<disk><source file='/a'><reconnect enabled='yes' timeout='3'/></source>"
         "<target dev='hda'/></disk>", "<source file='/a'/>", "reconnect"),
        ("<disk><source file='/a'><seclabel model='selinux' labelskip='yes'/></source>"
         "<target dev='hda'/></disk>", "<source file='/a'", "seclabel model"),
        ("<interface type='user'><model type='e1000'/><driver name='vhost' queues='5'/>"
         "<filterref filter='f'/></interface>", "<model type='e1000'/>", "<driver name='vhost'"),
        ("<interface type='network'><source network='n'/><model type='e1000'/>"
         "<filterref filter='f'/></interface>", "<filterref filter='f'/>", "<driver name="),
        ("<interface type='user'><filterref filter='f'/></interface>", "type='user'", "filterref"),
        ("<interface type='user'><model type='virtio'/><driver queues='1'/></interface>",
         "<model type='virtio'/>", "<driver"),
        ("<sound model='ac97'><codec type='micro'/></sound>", "<sound model='ac97'>", "codec"),
        ("<audio id='1' type='pulseaudio' path='/x'><input dev='d' name='n'/></audio>",
         "<input name='n'/>", "dev='d'"),
        ("<graphics type='vnc' socket='/tmp/v'><listen type='address' address='::1'/></graphics>",
         "<listen type='socket' socket='/tmp/v'/>", "autoport"),
        ("<graphics type='spice'/>", "<listen type='none'/>", "autoport"),
        ("<graphics type='vnc' port='5903'><listen type='socket'/></graphics>",
         "<listen type='socket'/>", "5903"),
        ("<graphics type='vnc'><image compression='off'/></graphics>", "type='vnc'", "<image"),
        ("<graphics type='dbus' p2p='yes'/>", "<graphics type='dbus' p2p='yes'", "<audio"),
        ("<serial type='tcp'><source mode='connect' host='h' service='1'>"
         "<reconnect enabled='no' timeout='9'/></source></serial>",
         "<reconnect enabled='no'/>", "timeout"),
        ("<channel type='unix'><source mode='bind' path='/x/domain-other/a.0'/>"
         "<target type='virtio' name='a.0'/></channel>", "<channel type='unix'>", "domain-other"),
        ("<channel type='unix'><source mode='bind' path='/x/own/a.0'/>"
         "<target type='virtio' name='a.0'/></channel>", "path='/x/own/a.0'", "domain-"),
    ],
)  # fmt: skip
def test_parts_of_other_types_are_dropped(
    device: str, kept: str, dropped: str, emulator_facts: EmulatorFacts
) -> None:
    text = written(emulator_facts, devices=device)
    assert kept in text
    assert dropped not in text


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("<redirdev bus='usb' type='tcp'><source mode='connect' host='h' service='1'/></redirdev>",
         "<protocol type='raw'/>"),
        ("<redirdev bus='usb' type='dbus'/>", "<source channel='org.qemu.usbredir'/>"),
        ("<disk type='vhostuser'><source type='unix' path='/s'/><target dev='vda'/></disk>",
         "snapshot='no'"),
        ("<controller type='usb' model='ich9-ehci1'/><controller type='usb' model='ich9-uhci2'/>",
         "<master startport='2'/>"),
        ("<filesystem accessmode='mapped' fmode='644'><source dir='/s'/><target dir='t'/>"
         "</filesystem>", "fmode='0644'"),
        ("<graphics type='vnc'/><graphics type='spice'/>", "<audio id='1' type='spice'/>"),
    ],
)  # fmt: skip
def test_implied_parts_are_written(
    device: str, expected: str, emulator_facts: EmulatorFacts
) -> None:
    backing = "<memoryBacking><access mode='shared'/></memoryBacking>"
    assert expected in written(emulator_facts, backing, devices=device)


def test_devices_of_a_second_element_count(emulator_facts: EmulatorFacts) -> None:
    text = written(emulator_facts, "<devices><interface type='user'/></devices>")
    assert "<interface type='user'>" in text


def test_channel_adds_its_own_controller_alone(emulator_facts: EmulatorFacts) -> None:
    text = written(
        emulator_facts,
        devices="<channel type='pty'><target type='virtio' name='c'/>"
        "<address type='virtio-serial' controller='1' bus='0' port='3'/></channel>",
    )
    assert "<controller type='virtio-serial' index='1'" in text
    assert "<controller type='virtio-serial' index='0'" not in text


def test_usb_controller_0_is_always_there(emulator_facts: EmulatorFacts) -> None:
    text = written(emulator_facts, devices="<controller type='usb' index='16'/>", settled=False)
    assert "<controller type='usb' index='0'" in text
    assert "<controller type='usb' index='16'" in text


def test_clock_has_the_attributes_of_its_offset(emulator_facts: EmulatorFacts) -> None:
    text = written(emulator_facts, "<clock offset='utc' timezone='Europe/Paris' basis='utc'/>")
    assert "<clock offset='utc'/>" in text


def test_first_numa_cell_has_the_vcpus_that_none_has(emulator_facts: EmulatorFacts) -> None:
    cells = (
        "<vcpu>6</vcpu><cpu mode='host-model' match='minimum'><numa>"
        "<cell id='0' cpus='0' memory='32768'/><cell id='1' cpus='2' memory='32768'/></numa></cpu>"
    )
    text = written(emulator_facts, cells)
    assert "cpus='0-1,3-5'" in text
    assert "match=" not in text  # only a custom model is matched


@pytest.mark.parametrize(("kind", "is_migratable"), [("qemu", False), ("kvm", True)])
def test_only_a_host_cpu_is_migratable(
    kind: str, is_migratable: bool, kvm_facts: EmulatorFacts
) -> None:
    document = (
        f"<domain type='{kind}'><name>d</name><memory>65536</memory><os><type>hvm</type></os>"
        "<cpu mode='maximum'/></domain>"
    )
    text = format_domain(complete(parse_domain(document), kvm_facts))
    assert ("migratable='on'" in text) is is_migratable


def test_first_serial_port_is_shown_as_a_console(emulator_facts: EmulatorFacts) -> None:
    virtio = "<console type='pty'><target type='virtio'/></console>"
    text = written(emulator_facts, devices=f"<serial type='pty'/>{virtio}")
    assert text.index("<target type='serial' port='0'/>") < text.index("<target type='virtio'")
    plugged = "<serial type='pty'><target type='pci-serial'/></serial>"
    assert "<console" not in written(emulator_facts, devices=plugged)
    console = written(emulator_facts, devices=f"{plugged}<console type='pty'/>").partition(
        "<console"
    )[2]
    assert "<address type='pci'" in console.partition("</console>")[0]


def test_console_has_the_port_of_its_serial_port(emulator_facts: EmulatorFacts) -> None:
    ports = "<serial type='pty'/><serial type='null'><target port='0'/></serial>"
    assert "<target type='serial' port='1'/>" in written(emulator_facts, devices=ports)
