"""What is refused of a domain's devices, and with which of libvirt's codes."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"
MDEV = "<hostdev mode='subsystem' type='mdev' model='vfio-pci'{}><source>{}</source></hostdev>"
ONE = "<address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/>"
OTHER = "<address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dd'/>"
USB = (
    "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/>"
    "</source></hostdev>"
)
NO_USB = "<controller type='usb' model='none'/>"


def disk(inside: str = "", *, kind: str = "file", target: str = "dev='sda' bus='scsi'") -> str:
    """A disk; `inside` goes into it."""
    return f"<disk type='{kind}' device='disk'><source file='/a'/><target {target}/>{inside}</disk>"


def document(devices: str, *, machine: str = "pc") -> str:
    """A small domain's document."""
    return (
        "<domain type='qemu'><name>small</name><memory>65536</memory>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


@pytest.mark.parametrize(
    ("devices", "kind", "message"),
    [
        ("<serial type='tcp'><source mode='bind' host='h'/></serial>", "internal", "service"),
        ("<serial type='tcp'><source mode='bind' service='1'/></serial>", "internal", "host"),
        ("<serial type='tcp'><source mode='bind' host='h' service='1'/>"
         "<source mode='connect' host='h' service='1'/></serial>", "xml", "only one source"),
        ("<serial type='file'/>", "internal", "path"),
        ("<serial type='tcp'><source mode='connect' host='h' service='1'>"
         "<reconnect enabled='yes' timeout='0'/></source></serial>", "invalid_arg", "'0'"),
        ("<graphics type='vnc'><listen type='network'/></graphics>", "xml", "'network'"),
        ("<graphics type='vnc' listen='1.1.1.1'><listen type='address' address='2.2.2.2'/>"
         "</graphics>", UNSUPPORTED, "must match"),
        (MDEV.format("", "<address domain='0' bus='1' slot='2' function='3'/>"), UNSUPPORTED,
         "Missing 'uuid'"),
        (USB + USB, "xml", "already exists"),
        ("<shmem name='a'><msi/></shmem>", "xml", "msi option"),
        (NO_USB + "<controller type='usb' index='1'/>", "xml_detail", "USB is disabled"),
    ],
)  # fmt: skip
def test_devices_that_are_not_whole_are_refused_on_reading(
    devices: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfError) as refused:
        parse_domain(document(devices))
    assert refused.value.kind == kind
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("devices", "kind", "message"),
    [
        (disk("<driver name='qemu' type='iso'/>"), UNSUPPORTED, "use 'raw'"),
        (disk("<driver name='qemu' type='cow'/>"), UNSUPPORTED, "'cow'"),
        (disk("<driver name='qemu' type='qcow2'/><shareable/>"), UNSUPPORTED, "shared access"),
        (disk().replace("'disk'>", "'lun'>"), UNSUPPORTED, "device='lun'"),
        (disk("<vendor>X</vendor>", target="dev='hda' bus='ide'"), UNSUPPORTED, "vendor"),
        (disk("<vendor>MoreThan8</vendor>"), "xml", "at most 8"),
        (disk() + disk(), "xml", "target 'sda' duplicated"),
        (disk("<address type='drive' unit='3'/>")
         + disk("<address type='drive' unit='3'/>", target="dev='sdb' bus='scsi'"), UNSUPPORTED,
         "duplicate drive address"),
        (disk("<address type='pci' slot='9'/>", target="dev='hda' bus='ide'"), UNSUPPORTED,
         "Invalid address type 'pci'"),
        ("<controller type='pci' index='0' model='pcie-root'/>", "xml", "must be model='pci-root'"),
        ("<controller type='pci' index='1' model='pci-root'/>", "xml", "should have index 0"),
        ("<controller type='scsi' index='1'/>" * 2, "xml", "Multiple 'scsi'"),
        ("<controller type='pci' model='pcie-expander-bus' index='1'/>", UNSUPPORTED,
         "not supported with this machine"),
        ("<controller type='usb' model='qemu-xhci' ports='16'/>", UNSUPPORTED, "'15' ports"),
        (NO_USB + "<input type='tablet' bus='usb'/>", UNSUPPORTED, "USB input device"),
        ("<graphics type='sdl'/><graphics type='egl-headless'/>", UNSUPPORTED, "'egl-headless'"),
        ("<graphics type='spice' tlsPort='5901' port='5900'/>", UNSUPPORTED, "TLS is disabled"),
        ("<video><model type='vga'/></video><video><model type='none'/></video>", UNSUPPORTED,
         "only video device"),
        (MDEV.format(" display='on'", ONE), UNSUPPORTED, "graphics device is needed"),
        ("<graphics type='vnc'/>" + MDEV.format(" display='on' ramfb='on'", ONE)
         + MDEV.format(" display='on' ramfb='on'", OTHER), UNSUPPORTED, "Only one vgpu"),
        ("<interface type='user'><model type='virtio'/><driver rx_queue_size='33'/></interface>",
         UNSUPPORTED, "power of two"),
        ("<serial type='pty'><target type='system-serial'/></serial>", UNSUPPORTED, "pl011"),
        ("<iommu model='intel'/>", UNSUPPORTED, "Q35"),
        ("<filesystem type='mount'><driver type='virtiofs'/><source dir='/a'/><target dir='a'/>"
         "<readonly/></filesystem>", UNSUPPORTED, "read-only"),
        ("<disk type='file'><target dev='vda' bus='virtio'/><source file='/a'/>"
         "<address type='pci' slot='9'><zpci uid='1'/></address></disk>", UNSUPPORTED, "zPCI"),
    ],
)  # fmt: skip
def test_devices_that_cannot_be_are_refused_on_completing(
    devices: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    domain = parse_domain(document(devices))
    with pytest.raises(ConfError) as refused:
        complete(domain, emulator_facts)
    assert refused.value.kind == kind
    assert message in refused.value.message


def test_a_virtual_iommu_needs_acpi(emulator_facts: EmulatorFacts) -> None:
    domain = parse_domain(document("<iommu model='virtio'/>", machine="q35"))
    with pytest.raises(ConfError, match="requires ACPI") as refused:
        complete(domain, emulator_facts)
    assert refused.value.kind == UNSUPPORTED


def test_tls_for_spice_is_for_those_who_switched_it_on(emulator_facts: EmulatorFacts) -> None:
    shown = document("<graphics type='spice' tlsPort='5901' port='5900'/>")
    domain = complete(parse_domain(shown), emulator_facts, spice_tls=True)
    assert domain.devices.graphics[0].tls_port == 5901
