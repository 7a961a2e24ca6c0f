"""What is refused of controllers, bridges, ports and other devices, and with libvirt's codes."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"
UUID = "53764d0e-85a0-42b4-af5c-2046b460b1dc"
CONSOLE = "<console type='pty'><target type='serial'/></console>"
UNIT = "<address type='drive' target='1'/>"


def define(devices: str, facts: EmulatorFacts, *, top: str = "", machine: str = "pc") -> Domain:
    """Define a small domain with these devices."""
    text = (
        f"<domain type='qemu'><name>small</name><memory>65536</memory>{top}"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )
    return complete(parse_domain(text), facts)


def usb(model: str, index: int = 0) -> str:
    """A USB controller."""
    return f"<controller type='usb' index='{index}' model='{model}'/>"


def bridge(model: str, name: str) -> str:
    """A PCI bridge with QEMU's name."""
    return f"<controller type='pci' index='1' model='{model}'><model name='{name}'/></controller>"


def disk(
    inside: str = "", *, target: str, attributes: str = "type='file'", form: str = "raw"
) -> str:
    """A disk; `inside` goes into it."""
    return (
        f"<disk {attributes}><driver name='qemu' type='{form}'/>"
        f"<source file='/a' dev='/a' dir='/a'/><target {target}/>{inside}</disk>"
    )


def serial(kind: str, address: str) -> str:
    """A serial port at an address."""
    return f"<serial type='pty'><target type='{kind}'/><address {address}/></serial>"


def port(type_: str, parameters: str) -> str:
    """An interface with a <virtualport>."""
    return (
        f"<interface type='network'><source network='n'/><virtualport type='{type_}'>"
        f"<parameters {parameters}/></virtualport></interface>"
    )


def scsi(source: str) -> str:
    """A unit of the host's SCSI adapter."""
    return f"<hostdev mode='subsystem' type='scsi'><source>{source}</source></hostdev>"


def vhost(attributes: str, protocol: str = "vhost") -> str:
    """A vhost-scsi device."""
    return (
        f"<hostdev mode='subsystem' type='scsi_host' {attributes}>"
        f"<source protocol='{protocol}' wwpn='naa.5123456789abcde0'/></hostdev>"
    )


def video(model: str) -> str:
    """A video device."""
    return f"<video>{model}</video>"


@pytest.mark.parametrize(
    ("devices", "kind", "message"),
    [
        (usb("ich9-uhci2"), "xml_detail", "No master USB controller specified"),
        (bridge("pci-bridge", "pxb"), UNSUPPORTED, "has invalid value for PCI controller"),
        (bridge("pci-root", "pxb").replace("index='1'", "index='0'"), UNSUPPORTED, "is not valid"),
        ("<controller type='scsi' model='lsilogic'/>" + disk(UNIT, target="dev='sda' bus='scsi'"),
         UNSUPPORTED, "target must be 0 for controller model 'lsilogic'"),
        ("<controller type='scsi' model='buslogic'/>", UNSUPPORTED, "buslogic"),
        ("<controller type='scsi' model='ncr53c90'/>", UNSUPPORTED, "not a built-in"),
        (serial("isa-serial", "type='pci' slot='9'"), UNSUPPORTED, "requires address type 'isa'"),
        (serial("pci-serial", "type='isa'"), UNSUPPORTED, "requires address type 'pci'"),
        (serial("usb-serial", "type='isa'"), UNSUPPORTED, "usb-serial requires address"),
        (CONSOLE + CONSOLE, UNSUPPORTED, "Only the first console can be a serial port"),
        ("<serial type='dbus'/>", UNSUPPORTED, "Missing source channel"),
        ("<panic model='isa'/><panic/>", "xml", "Multiple panic devices with model 'isa'"),
        ("<panic model='s390'/>", UNSUPPORTED, "only S390 guests"),
        ("<panic model='hyperv'><address type='isa'/></panic>", UNSUPPORTED, "not supported for"),
        ("<panic model='isa'><address type='pci' slot='9'/></panic>", UNSUPPORTED, "ISA address"),
        ("<audio id='1' type='none'/>" * 2, "xml", "audio ID 1 is used multiple times"),
        ("<input type='evdev'><source evdev='/a'/></input>", "xml", "Missing evdev path"),
        (port("no", ""), UNSUPPORTED, "unknown virtualport type no"),
        (port("802.1Qbg", "managerid='256'"), "xml", "value of managerid out of range"),
        (port("802.1Qbg", "managerid='-1'"), "xml", "value of managerid out of range"),
        (port("802.1Qbg", "typeid='x'"), "xml", "cannot parse value of typeid parameter"),
        (port("802.1Qbg", "instanceid='x'"), "xml", "instanceid parameter as a uuid"),
        (port("802.1Qbh", f"profileid='{'x' * 40}'"), "xml", "profileid parameter too long"),
        (port("openvswitch", "managerid='1'"), "xml", "extra managerid unsupported"),
        ("<interface type='user'><virtualport type='midonet'/></interface>", UNSUPPORTED,
         "element unsupported for <interface type='user'>"),
        ("<interface type='bridge'><source bridge='b'/><ip address='192.0.2.1'/></interface>",
         UNSUPPORTED, "guest-side IP route"),
        (vhost("model='x'"), "xml", "Invalid value for attribute 'model' in element 'hostdev'"),
        (vhost("", "adapter"), UNSUPPORTED, "Unknown scsi_host subsystem protocol 'adapter'"),
        (scsi("<adapter name='scsi_host0'/><address bus='0' unit='0'/>"), "xml", "'target'"),
        (scsi("<adapter name='scsi_host0'/>"), "xml", "'address' must be specified"),
        (scsi("<address bus='0' target='0' unit='0'/>"), "xml", "'adapter' name"),
        (scsi("<adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/>")
         .replace("</source>", "</source><rom bar='on'/>"), UNSUPPORTED, "ROM tuning"),
        ("<disk type='network'><source protocol='32' name='a'/><target dev='vda'/></disk>", "xml",
         "Invalid value for attribute 'protocol' in element 'source': '32'"),
        (disk(target="dev='vda'", form="fat"), UNSUPPORTED, "only with 'dir' storage type"),
        (disk(target="dev='vda'", form="fat", attributes="type='dir'"), UNSUPPORTED, "read-write"),
        (disk(target="dev='hdc' bus='sd'", attributes="type='file' device='cdrom'"), UNSUPPORTED,
         "ejectable media"),
        (disk("<wwn>5000c50015ea71ac</wwn>", target="dev='vda'"), UNSUPPORTED, "Only ide and scsi"),
        (disk("<wwn>5000c50015ea71ac</wwn>", target="dev='sda' bus='scsi'",
              attributes="type='block' device='lun'"), UNSUPPORTED, "Setting wwn"),
        (disk("<serial>a</serial>", target="dev='sda' bus='scsi'",
              attributes="type='block' device='lun'"), UNSUPPORTED, "serial property"),
        ("<disk type='file'><driver name=''/><source file='/a'/><target dev='vda'/></disk>",
         UNSUPPORTED, "unsupported driver name ''"),
        ("<filesystem type='mount' fmode='0750'><source dir='/a'/><target dir='a'/></filesystem>",
         UNSUPPORTED, "accessmode=mapped"),
        (video("<model type='vga' heads='2'/>"), UNSUPPORTED, "multiple 'heads'"),
        (video("<model type='virtio'><acceleration accel2d='yes'/></model>"), UNSUPPORTED,
         "accel2d"),
        ("<memory model='dimm'><target><size>1024</size></target></memory>", UNSUPPORTED,
         "'maxMemory' is not defined"),
        ("<smartcard mode='host'><address type='ccid' slot='0x4'/></smartcard>", "xml", "0x4"),
    ],
)  # fmt: skip
def test_device_that_stock_refuses_is_refused(
    devices: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError) as refused:
        define(devices, emulator_facts)
    assert message in refused.value.message
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("virtio-pmem", "<address type='dimm' slot='0'/>", "only 'pci' addresses"),
        ("virtio-pmem", "", "does not support NUMA nodes"),
    ],
)
def test_virtio_memory_is_a_pci_device_without_a_cell(
    model: str, words: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    memory = (
        f"<memory model='{model}' access='shared'><source><path>/a</path></source>"
        f"<target><size>1024</size><node>0</node></target>{words}</memory>"
    )
    top = (
        "<maxMemory slots='2'>1048576</maxMemory>"
        "<cpu><numa><cell id='0' cpus='0' memory='65536'/></numa></cpu>"
    )
    with pytest.raises(ConfError, match=message):
        define(memory, emulator_facts, top=top)


@pytest.mark.parametrize(
    "devices",
    [
        usb("ich9-ehci1") + usb("ich9-uhci2", 2),
        bridge("pci-bridge", "pci-bridge"),
        disk("<readonly/>", target="dev='vda'", form="fat", attributes="type='dir'"),
        port("802.1Qbg", f"managerid='11' typeid='1193047' instanceid='{UUID}'"),
        "<serial type='pty'/><console type='file'><target type='serial'/></console>",
        "<redirdev bus='usb' type='dbus'/>",
        vhost("model='virtio'"),
    ],
)
def test_device_that_stock_has_is_defined(devices: str, emulator_facts: EmulatorFacts) -> None:
    define(devices, emulator_facts)


@pytest.mark.parametrize(
    ("devices", "written"),
    [
        (video("<model type='qxl'/><model type='vga' vram='16384' heads='1'/>"),
         "<model type='qxl' ram='65536' vram='16384' vgamem='16384' heads='1' primary='yes'/>"),
        (video("<model type='qxl' vram='9' heads='0'/>"),
         "<model type='qxl' ram='65536' vram='16' vgamem='16384' primary='yes'/>"),
        (bridge("pci-bridge", "none"), "<model name='pci-bridge'/>"),
        ("<input type='mouse' bus='none'/>", "<input type='mouse'/>"),
        ("<memballoon model='none'><address type='pci' slot='9'/></memballoon>",
         "<memballoon model='none'/>"),
        ("<controller type='scsi' index='0' model='auto'/>",
         "<controller type='scsi' index='0' model='lsilogic'>"),
        (vhost(""), "type='scsi_host' managed='no'>"),
    ],
)  # fmt: skip
def test_device_is_written_as_stock_completes_it(
    devices: str, written: str, emulator_facts: EmulatorFacts
) -> None:
    assert written in format_domain(define(devices, emulator_facts), secure=False)
