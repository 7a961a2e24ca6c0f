"""What QEMU can never run is refused when the domain is defined, with libvirt's code."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.defaults import complete
from conf.domain.devices.address import PciAddress, UsbAddress
from conf.domain.model import Domain
from conf.domain.validate.resources import check_cputune
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"


def disk(target: str, inside: str = "", attributes: str = "type='file' device='disk'") -> str:
    """A disk with that <target>."""
    return f"<disk {attributes}><source file='/a' dir='/a'/><target {target}/>{inside}</disk>"


def define(devices: str, facts: EmulatorFacts) -> Domain:
    """Define a domain with these devices."""
    domain = parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}</devices></domain>"
    )
    return complete(domain, facts)


VDA = "dev='vda' bus='virtio'"
ALIAS = "<alias name='ua-d'/>"


@pytest.mark.parametrize(
    ("devices", "kind", "message"),
    [
        (disk(VDA, ALIAS) + disk("dev='vdb' bus='virtio'", ALIAS), UNSUPPORTED, "non unique alias"),
        (disk(VDA, "<boot order='0'/>"), "xml", "order"),
        (disk(VDA, attributes="type='file' device='cdrom'"), UNSUPPORTED, "ejectable"),
        (disk(VDA, attributes="type='dir' device='disk'"), UNSUPPORTED, "'fat'"),
        (disk(VDA, "<driver name='file'/>"), UNSUPPORTED, "unsupported driver name"),
        (disk(VDA, "<driver name='qemu' type='dir'/>"), UNSUPPORTED, "storage format"),
        (disk(VDA, "<iotune><total_iops_sec>9</total_iops_sec><read_iops_sec>9</read_iops_sec>"
              "</iotune>"), "xml", "total and read/write"),
        (disk(VDA, "<driver name='qemu' io='native'/>"), UNSUPPORTED, "native I/O"),
        (disk("dev='vda1' bus='virtio'"), UNSUPPORTED, "partitions"),
        (disk("dev='disk0' bus='virtio'"), "xml", "Unknown disk name 'disk0'"),
        (disk("dev='hda' bus='ide'", "<readonly/>"), UNSUPPORTED, "readonly"),
        (disk("dev='hde' bus='ide'"), "internal", "1 IDE controller"),
        (disk("dev='vda' bus='virtio' removable='on'"), "xml", "removable"),
        (disk(VDA, "<serial>A 1/!</serial>"), UNSUPPORTED, "unsafe"),
        (disk("dev='sda' bus='scsi'", "<wwn>12345678</wwn>"), "internal", "Malformed wwn"),
        ("<disk type='file'><target dev='sda' bus='usb'/></disk>", "no_source", "sda"),
        ("<disk><source file=''/><target dev='vda' bus='virtio'/></disk>", "no_source", "vda"),
        ("<sound/>", "xml", "'model'"),
        ("<sound model='ich7'/>", UNSUPPORTED, "ich7"),
        ("<sound model='ich6'><audio id='2'/></sound><audio id='1' type='none'/>", "xml", "'2'"),
        ("<audio type='none'/>", "xml", "'id'"),
        ("<input/>", "internal", "type"),
        ("<input type='tablet' bus='ps2'/>", "internal", "ps2 bus"),
        ("<input type='passthrough' bus='usb'/>", UNSUPPORTED, "passthrough"),
        ("<rng model='virtio'/>", "xml", "RNG backend"),
        ("<tpm/>", "xml", "TPM device backend"),
        ("<tpm><backend/></tpm>", "xml", "backend type"),
        ("<watchdog/>", "internal", "model name"),
        ("<watchdog model='i6300esb'/><watchdog model='ib700'/>", "internal", "single watchdog"),
        ("<panic model='pvpanic'/>", UNSUPPORTED, "pvpanic"),
        ("<vsock model='virtio'><cid auto='no' address='2'/></vsock>", UNSUPPORTED, "CID"),
        ("<shmem name='a/b'><model type='ivshmem-plain'/></shmem>", UNSUPPORTED, "shmem name"),
        ("<channel type='spicevmc'><target type='virtio'/></channel>", UNSUPPORTED, "spicevmc"),
        ("<interface type='user'><model type='virtio '/></interface>", "invalid_arg", "Model"),
        ("<interface type='network'><source/></interface>", "xml", "'network'"),
        ("<controller type='scsi' model='bogus'/>", UNSUPPORTED, "Unknown model type"),
        ("<memballoon model='virtio'/><memballoon model='none'/>", "internal", "memory balloon"),
        ("</devices><devices><memballoon model='xen'/></devices><devices>"
         "<memballoon model='virtio'/>", "internal", "memory balloon"),
        (disk(VDA).replace("<source", "<other"), "no_source", "vda"),
        (disk(VDA, attributes="type='block' device='disk'"), "no_source", "vda"),
        (disk(VDA, attributes="type='file' device='disk' rawio='yes'"), UNSUPPORTED, "rawio"),
        (disk("dev='fda' bus='fdc'"), "internal", "harddisk device name"),
        (disk("dev='fda' bus='ide'", attributes="type='file' device='floppy'"), "internal", "bus"),
        (disk("dev='sda' bus='scsi'", attributes="type='file' device='disk' model='virtio'"),
         UNSUPPORTED, "disk model"),
        (disk("dev='hda' bus='ide'", "<address type='drive' target='1'/>"), UNSUPPORTED, "target"),
        (disk("dev='sda' bus='scsi'", "<address type='drive' bus='1'/>"), "internal", "1 bus"),
        (disk(VDA, "<address type='ccw'/>"), UNSUPPORTED, "CCW address type"),
        (disk(VDA, "<address/>"), "internal", "No type specified"),
        (disk(VDA, "<address type='moon'/>"), UNSUPPORTED, "unknown address type 'moon'"),
        (disk("dev='sda' bus='scsi'", "<address type='drive' unit='4294967296'/>"), "xml",
         "Expected non-negative integer value"),
        (disk(VDA, "<driver name='qemu' type='zip'/>"), UNSUPPORTED, "driver format value 'zip'"),
        ("<video><model type='vga' vram='1'/></video>", UNSUPPORTED, "at least 1 MiB"),
        ("<video><model type='vga' vgamem='4096'/></video>", UNSUPPORTED, "type qxl"),
        ("<video><model type='vga'/></video><video><model type='vga'/></video>", UNSUPPORTED,
         "primary video"),
        ("<controller type='pci' model='pci-root' index='0'><address type='pci' slot='3'/>"
         "</controller>", UNSUPPORTED, "should not have an address"),
        ("<controller type='pci' model='pci-bridge' index='256'/>", UNSUPPORTED,
         "PCI controller index 256 too high, maximum is 255"),
        ("<controller type='pci' model='pci-bridge'><target chassisNr='256'/></controller>",
         UNSUPPORTED, "out of range"),
        ("<interface type='bridge'><source/></interface>", "xml", "'bridge'"),
        ("<interface type='server'><source address='127.0.0.1'/></interface>", "xml", "'port'"),
        ("<serial type='pty'><target port='0x1'/></serial>", "xml", "Invalid port number"),
        ("<graphics/>", "xml", "'type'"),
        ("<memballoon/>", "xml", "'model'"),
        ("<hub type='pci'/>", UNSUPPORTED, "unknown hub device type"),
        ("<serial type='pty'><target type='virtio'/></serial>", UNSUPPORTED, "'virtio' specified"),
        ("<console type='pty'><target type='isa-serial'/></console>", UNSUPPORTED, "isa-serial"),
        ("<channel type='pty'/>", "xml", "target type must be specified"),
        ("<serial type='spiceport'/>", UNSUPPORTED, "source channel"),
        (disk(VDA, "<encryption><secret type='passphrase' usage='a'/></encryption>"), "xml",
         "unknown volume encryption format"),
        ("<interface type='user'><model type='e1000'/><teaming type='persistent' persistent='a'/>"
         "</interface>", "config_unsupported", "not allowed if teaming type is 'persistent'"),
        (disk(VDA, "<encryption format='luks'><secret usage='a'/></encryption>"), "xml",
         "secret type"),
        (disk(VDA, "<encryption format='luks'><secret type='ceph' usage='a'/></encryption>"),
         UNSUPPORTED, "secret type ceph"),
        (disk(VDA, "<encryption format='luks'><secret type='passphrase'/></encryption>"), "xml",
         "uuid or usage"),
        ("<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='a'/></hostdev>",
         "xml", "missing the host"),
        ("<hostdev mode='subsystem' type='scsi'><source protocol='nbd'/></hostdev>", UNSUPPORTED,
         "SCSI subsystem protocol"),
        ("<controller type='pci' index='1'/>", "internal", "not set correctly"),
        ("<controller type='pci' index='0'/>", "xml", "model='\\(null\\)'"),
        ("<controller type='pci' index='1' model='pci-bridge'><model name='b'/></controller>",
         "xml", "'name' in element 'model'"),
        ("<input type='evdev' bus='usb'><source dev='/dev/input/event1'/></input>", UNSUPPORTED,
         "bus element"),
        (disk("dev='sda' bus='scsi'", "<address type='drive' controller='4294967295'/>"),
         "internal", "No more"),
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


@pytest.mark.parametrize(
    "address",
    ["<address type='pci' slot='0'/>", "<address type='pci' bus='0x00' slot='0x00' function='1'/>"],
)
def test_pci_address_of_zeros_is_one_yet_to_be_given(
    address: str, emulator_facts: EmulatorFacts
) -> None:
    domain = define(f"<sound model='ac97'>{address}</sound>", emulator_facts)
    assert isinstance(domain.devices.sounds[0].address, PciAddress)
    assert domain.devices.sounds[0].address.slot >= 2


def test_usb_port_0_is_one_yet_to_be_given(emulator_facts: EmulatorFacts) -> None:
    tablet = "<input type='tablet' bus='usb'><address type='usb' bus='0' port='0'/></input>"
    domain = define(tablet, emulator_facts)
    assert isinstance(domain.devices.inputs[0].address, UsbAddress)
    assert domain.devices.inputs[0].address.port == "1"


@pytest.mark.parametrize(("written", "weight"), [("no", None), (str(1 << 32), None), ("500", 500)])
def test_a_weight_of_block_io_that_is_no_number_is_left_out(
    written: str, weight: int | None
) -> None:
    tune = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<blkiotune><weight>{written}</weight></blkiotune></domain>"
    ).blkiotune
    assert tune is not None
    assert tune.weight == weight


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<shares>1</shares>", r"'shares' must be in range \[2, 262144\]"),
        ("<quota>1</quota>", r"'quota' must be in range \[1000, 17592186044415\]"),
        ("<emulator_period>5</emulator_period>", r"'emulator_period' must be in range"),
        ("<quota>-1</quota><period>0</period>", ""),
    ],
)
def test_shares_and_bandwidth_that_the_kernel_cannot_keep_are_refused(
    inner: str, words: str
) -> None:
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<cputune>{inner}</cputune></domain>"
    )
    if not words:
        check_cputune(domain)
        return
    with pytest.raises(ConfError, match=words) as refusal:
        check_cputune(domain)
    assert refusal.value.kind == "config_unsupported"
