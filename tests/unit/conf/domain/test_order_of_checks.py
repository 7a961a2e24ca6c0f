"""Of several faults in a document the one that libvirt's parser meets first is reported."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"
#: A second fault, further on in the parser's way: it must not be the one that is reported.
LATER = "<rng model='virtio'/>"


def document(devices: str = "", *, top: str = "", os: str = "", kind: str = "") -> str:
    """A domain's XML."""
    kind = kind or "<type arch='x86_64' machine='pc'>hvm</type>"
    return (
        f"<domain type='qemu'><name>small</name><memory>1048576</memory><vcpu>2</vcpu>{top}"
        f"<os>{kind}{os}</os><devices>{devices}</devices></domain>"
    )


def define(xml: str, facts: EmulatorFacts) -> Domain:
    """Define a domain."""
    return complete(parse_domain(xml), facts)


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        (document("<controller type='usb' model='lsi'/>" + LATER), UNSUPPORTED,
         "Unknown model type 'lsi'"),
        (document("<controller type='usb' model='none'/><controller type='usb' index='1'/>"
                  "<memballoon model='none'/><memballoon model='none'/>"), "xml_detail",
         "USB is disabled for this domain"),
        (document("<controller type='pci' model='pci-bridge'><target chassisNr='256'/>"
                  "</controller>" + LATER), UNSUPPORTED, "chassisNr '256' out of range"),
        (document("<controller type='pci' index='1' model='pcie-root-port'><target port='4600'/>"
                  "</controller>" + LATER), UNSUPPORTED, "port '4600' out of range"),
        (document(LATER, top="<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/>"
                             "</cputune>"), "internal", "duplicate vcpupin for vcpu '0'"),
        (document(LATER, top="<iothreads>1</iothreads><cputune>"
                  + "<iothreadpin iothread='1' cpuset='0'/>" * 2 + "</cputune>"), "internal",
         "duplicate iothreadpin for same iothread '1'"),
        (document(LATER, top="<cputune><emulatorpin cpuset='0'/><emulatorpin cpuset='1'/>"
                             "</cputune>"), "xml", "only one emulatorpin"),
        (document(LATER, top="<seclabel type='dynamic' model='dac'/>" * 2), "xml_detail",
         "seclabel for model dac is already provided"),
        ("<domain type='nothing'><os><type>hvm</type></os></domain>", "no_name", "name"),
    ],
)  # fmt: skip
def test_the_first_fault_on_the_parsers_way_is_reported(xml: str, kind: str, message: str) -> None:
    with pytest.raises(ConfError, match=message.replace("(", r"\(")) as refused:
        parse_domain(xml)
    assert refused.value.kind == kind


ISCSI = "<source protocol='iscsi' name='iqn.2013-07.com.example:a'>{}</source>"
NAMELESS = "<auth username='a'><secret type='iscsi'/></auth>"
HOST = "<host name='example.org'{}/>"


def network_disk(inside: str, protocol: str = "iscsi") -> str:
    """A disk on a server."""
    source = ISCSI.format(inside).replace("iscsi", protocol)
    return f"<disk type='network'>{source}<target dev='vda'/></disk>"


def latency(value: int) -> str:
    """A path between cells."""
    return f"<latency initiator='0' target='1' type='access' value='{value}'/>"


def cells(interconnects: str) -> str:
    """Two cells."""
    each = "<cell id='{0}' cpus='{0}' memory='524288'/>"
    return (
        f"<cpu><numa>{each.format(0)}{each.format(1)}"
        f"<interconnects>{interconnects}</interconnects></numa></cpu>"
    )


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        (document(network_disk(HOST.format(" port='65536'"))), "invalid_arg",
         "port '65536' out of range"),
        (document(network_disk(HOST.format(" port='-1'"))), "invalid_arg",
         "failed to parse port number '-1'"),
        (document(network_disk(HOST.format("") + NAMELESS)), "xml", "missing secret uuid or usage"),
        (document(network_disk(HOST.format("") + "<cookies><cookie>a</cookie></cookies>", "http")),
         "xml", "missing cookie name"),
        (document(network_disk(
            HOST.format("") + "<cookies>" + "<cookie name='a'>b</cookie>" * 2 + "</cookies>", "http"
        )), "xml", "duplicate cookie 'a'"),
        (document("<serial type='tcp'><source mode='connect' host='a' service='1'>"
                  "<reconnect enabled='yes'/></source></serial>"), "xml",
         "Missing required attribute 'timeout' in element 'reconnect'"),
        (document("<disk type='block'><source dev='/a'><seclabel model='selinux' relabel='no'>"
                  "<label>a</label></seclabel></source><target dev='vda'/></disk>"), "xml",
         "Cannot specify a label if relabelling is turned off. model=selinux"),
        (document("<graphics type='spice'><gl rendernode='/dev/dri/x'/></graphics>"), "xml",
         "Missing required attribute 'enable' in element 'gl'"),
        (document("<memory model='dimm'><target><node>0</node></target></memory>"), "xml",
         "missing element or attribute './size'"),
        (document("<hostdev mode='subsystem' type='scsi_host'><source wwpn='naa.5'/></hostdev>"),
         "xml", "Missing scsi_host subsystem protocol"),
        (document("<redirdev type='spicevmc'><address type='usb' port='4294967296'/></redirdev>"),
         "internal", "Cannot parse <address> 'port' attribute"),
        (document("<sound model='ich6'><address type=''/></sound>"), UNSUPPORTED,
         "unknown address type ''"),
        (document("<channel type='pty'><target name='a'/></channel>"), UNSUPPORTED,
         "unknown target type '(null)'"),
        (document("<channel type='pty'/>"), "xml", "target type must be specified"),
        (document("<channel type='pty'><target type='guestfwd' port='1'/></channel>"), "xml",
         "does not define a target address"),
        (document("<rng model='virtio'><backend model='egd'/></rng>"), "xml",
         "missing EGD backend type"),
        (document("<interface type='direct'><source dev='a'/><virtualport type='802.1Qbg'/>"
                  "</interface>"), "xml", "missing managerid in <virtualport type='802.1Qbg'>"),
        (document("<interface type='bridge'><source bridge='a'/><bandwidth>"
                  "<inbound average='9' floor='9'/></bandwidth></interface>"), UNSUPPORTED,
         "floor attribute is not supported"),
        (document("<hostdev mode='subsystem' type='pci'><source><address slot='32'/></source>"
                  "</hostdev>"), "xml", "Invalid PCI address slot='0x20'"),
        (document(top=cells(latency(5) + latency(6))), "xml", "Duplicate info for NUMA latencies"),
        (document(top=cells(latency(5).replace("target='1'", "target='2'"))), "xml",
         "non-existent NUMA node"),
        (document(top=cells(latency(5).replace("type=", "cache='1' type="))), "xml",
         "non-existent NUMA node cache"),
        (document("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
                  "<address uuid='no'/></source></hostdev>"), "internal", "Cannot parse uuid"),
        (document("<interface type='hostdev'><source><address type='pci' slot='5'/></source>"
                  "</interface>" * 2), "xml", "Hostdev already exists"),
        (document("<disk type='network'><source protocol='rbd' name='a/b'><auth username='a'>"
                  "<secret type='iscsi' usage='a'/></auth></source><target dev='vda'/></disk>"),
         UNSUPPORTED, "invalid secret type 'iscsi'"),
        (document(os="<loader readonly='yes' type='pflash'>/a</loader><nvram type='network'>"
                     "<source name='a'/></nvram>"), "xml", "'protocol' in element 'source'"),
        (document(top="<numatune><memory mode='strict' placement='none'/></numatune>"), UNSUPPORTED,
         "Unsupported NUMA memory placement mode 'none'"),
        (document(top="<features><kvm><dirty-ring state='on' size='9'/></kvm></features>"), "xml",
         "dirty ring must be power of 2"),
        (document("<interface type='network'><source network='a'/><teaming persistent='a'/>"
                  "</interface>"), UNSUPPORTED, "unknown teaming type '(null)'"),
        (document(top="<numatune><memory mode='strict' placement='auto'/>"
                      "<memnode cellid='0' nodeset='0'/></numatune>"), UNSUPPORTED,
         "Per-node binding is not compatible"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_is_refused_on_reading(xml: str, kind: str, message: str) -> None:
    with pytest.raises(ConfError) as refused:
        parse_domain(xml)
    assert message in refused.value.message
    assert refused.value.kind == kind


def controller(words: str, inside: str = "") -> str:
    """A controller."""
    return f"<controller {words}>{inside}</controller>"


def at(slot: int, function: int) -> str:
    """A place on the first PCI bus."""
    return f"<address type='pci' slot='{slot}' function='{function}'/>"


NVDIMM = "<memory model='nvdimm'><target><size>4096</size><node>0</node></target></memory>"
POOLED = (
    "<maxMemory slots='2'>4194304</maxMemory>"
    "<cpu><numa><cell id='0' cpus='0-1' memory='1048576'/></numa></cpu>"
)
DIMM = "<memory model='dimm'><target><size>4096</size></target></memory>"
SCSI = (
    "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
    "<address bus='0' target='0' unit='{}'/></source>{}</hostdev>"
)


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        (document(NVDIMM, top=POOLED), "xml_detail", "path is required for model 'nvdimm'"),
        (document(DIMM, top=POOLED), UNSUPPORTED, "target NUMA node needs to be specified"),
        (document(top="<iothreads>1</iothreads>", devices=controller(
            "type='scsi' model='virtio-scsi'", "<driver iothread='9'/>")), UNSUPPORTED,
         "controller iothread '9' not defined"),
        (document("<disk><driver iothread='9'/><source file='/a'/><target dev='vda'/></disk>"),
         UNSUPPORTED, "Disk iothread '9' not defined"),
        (document("<disk><driver copy_on_read='on'/><source file='/a'/><target dev='vda'/>"
                  "<readonly/></disk>"), UNSUPPORTED, "copy_on_read is not compatible"),
        (document("<disk><source file='/a'><encryption format='luks2'/></source>"
                  "<target dev='vda'/></disk>"), UNSUPPORTED, "luks2 is currently not supported"),
        (document("<disk device='lun' type='network'><source protocol='nbd'><host name='a'/>"
                  "</source><target dev='sda'/></disk>"), UNSUPPORTED,
         "device='lun' is not supported for protocol='nbd'"),
        (document(top="<cputune><vcpusched vcpus='5' scheduler='idle'/></cputune>"), UNSUPPORTED,
         "vCPU '5' is not present"),
        (document(top="<cputune><shares>1</shares></cputune>"), UNSUPPORTED,
         "Value of cputune 'shares' must be in range [2, 262144]"),
        (document(top="<cputune><period>5</period></cputune>"), UNSUPPORTED,
         "Value of cputune 'period' must be in range"),
        (document(top="<numatune><memory mode='strict'/></numatune>"), UNSUPPORTED,
         "nodeset for NUMA memory tuning must be set"),
        (document(top="<memoryBacking><hugepages><page size='2048'/><page size='1048576'/>"
                      "</hugepages></memoryBacking>"), "xml_detail", "two master hugepages"),
        (document(top="<memoryBacking><hugepages><page size='2048' nodeset='7'/></hugepages>"
                      "</memoryBacking>"), "xml_detail", "hugepages: node 7 not found"),
        (document(top="<clock><timer name='kvmclock' tickpolicy='delay'/></clock>"), UNSUPPORTED,
         "timer kvmclock doesn't support setting of timer tickpolicy"),
        (document(top="<clock><timer name='pit' tickpolicy='delay'><catchup slew='9'/></timer>"
                      "</clock>"), "xml", "only supported with tickpolicy='catchup'"),
        (document(top="<clock><timer name='hpet' track='wall'/></clock>"), UNSUPPORTED,
         "timer hpet doesn't support setting of timer track"),
        (document(os="<nvram>/a</nvram>"), "xml_detail", "no loader path specified"),
        (document(os="<firmware><feature enabled='yes' name='secure-boot'/></firmware>"),
         "xml_detail", "feature-based firmware autoselection"),
        (document(top="<features><acpi/></features>", os="<loader readonly='yes'/>").replace(
            "<os>", "<os firmware='efi'>"), "xml_detail", "attribute 'readonly' cannot be"),
        (document(os="<firmware><feature enabled='yes' name='enrolled-keys'/>"
                     "<feature enabled='no' name='secure-boot'/></firmware>").replace(
            "<os>", "<os firmware='efi'>"), "xml_detail", "'enrolled-keys' cannot be enabled"),
        (document(os="<loader type='pflash'>/a</loader>"), UNSUPPORTED, "UEFI requires ACPI"),
        (document(controller("type='usb' index='0'", at(1, 1))), "internal",
         "PIIX3 USB controller at index 0 must have PCI address 0:0:1.2"),
        (document(controller("type='fdc' index='0'", at(1, 2))), "xml",
         "Attempted double use of PCI Address 0000:00:01.2"),
        (document(controller("type='pci' index='1' model='pci-bridge'", "<target port='1'/>")),
         UNSUPPORTED, "Option 'port' is not valid for PCI controller with index '1'"),
        (document(controller("type='pci' index='1' model='pci-expander-bus'",
                             "<target busNr='254'><node>1</node></target>")), "xml",
         "pci-expander-bus with index 1 is configured for a NUMA node (1) not present"),
        (document(SCSI.format(0, at(9, 0))), UNSUPPORTED, "must use 'drive' address type"),
        (document("<redirdev type='spicevmc'><address type='ccw'/></redirdev>"
                  "<graphics type='spice'/>"), "xml", "Invalid address for a USB device"),
        (document("<smartcard mode='host'><address type='ccid' controller='3'/></smartcard>"),
         UNSUPPORTED, "multiple smartcard support"),
        (document("<interface type='user'><port isolated='yes'/></interface>"), UNSUPPORTED,
         "<port isolated='yes'/> is not supported for network interfaces with type='user'"),
        (document("<disk><source file='/a'><encryption format='luks' engine='librbd'/></source>"
                  "<target dev='vda'/></disk>"), UNSUPPORTED, "only with RBD backed disks"),
        (document("<interface type='user'><ip address='10.0.0.1'/><ip address='10.0.0.2'/>"
                  "</interface>"), UNSUPPORTED, "Only one IPv4 address per interface"),
        (document("<video><model type='vga'/></video><video><model type='ramfb'/></video>"),
         UNSUPPORTED, "'ramfb' is only valid as primary"),
        (document(controller("type='virtio-serial'", "<driver queues='2'/>")), UNSUPPORTED,
         "'queues' is only supported by virtio-scsi controller"),
        (document(top="<iothreadids><iothread id='1' thread_pool_min='0'/></iothreadids>"),
         UNSUPPORTED, "thread_pool_min must be smaller"),
        (document(top="<features><gic/></features>"), UNSUPPORTED, "The 'gic' feature"),
        (document("<graphics type='vnc'><audio id='2'/></graphics>"), "xml",
         "no audio device with ID 2"),
        (document("<audio id='1' type='spice'/>"), UNSUPPORTED, "without spice graphics"),
        (document("<audio id='1' type='alsa'><input><settings frequency='9'/></input></audio>"),
         UNSUPPORTED, "without fixed settings flag"),
        (document("<video><model type='qxl'><acceleration accel3d='yes'/></model></video>"),
         UNSUPPORTED, "3d acceleration is supported only with 'virtio'"),
        (document("<disk><source file='/a'/><target dev='sda' bus='sata'/>"
                  "<address type='drive' bus='1'/></disk>"), UNSUPPORTED, "bus must be 0 for sata"),
        (document(controller("type='pci' index='0' model='pci-root'", at(9, 0))), UNSUPPORTED,
         "should not have an address"),
        (document(controller("type='usb' index='0'", at(1, 2))
                  + controller("type='pci' index='0' model='pci-root'", at(1, 2))), "xml",
         "Attempted double use of PCI Address 0000:00:01.2"),
        (document(kind="<type arch='s390x' machine='pc'>hvm</type>"), "xml",
         "No PCI buses available"),
        (document(kind="<type arch='ppc64' machine='pseries'>hvm</type>"), UNSUPPORTED,
         "does not support arch 'ppc64'"),
        (document(kind="<type arch='x86_64' machine='q35'>hvm</type>",
                  devices="<iommu model='intel'><driver eim='on'/></iommu>"), UNSUPPORTED,
         "eim requires interrupt remapping"),
    ],
)  # fmt: skip
def test_a_guest_that_cannot_be_is_refused_on_completing(
    xml: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    domain = parse_domain(xml)
    with pytest.raises(ConfError) as refused:
        complete(domain, emulator_facts)
    assert message in refused.value.message
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    ("xml", "written"),
    [
        (document(top="<clock offset='utc'/><clock adjustment='3600'/>"),
         "<clock offset='variable' adjustment='3600' basis='utc'/>"),
        (document("<disk><driver type='qcow2'><metadata_cache><max_size>12345</max_size>"
                  "<max_size unit='KiB'>7</max_size></metadata_cache></driver>"
                  "<source file='/a'/><target dev='vda'/></disk>"),
         "<max_size unit='bytes'>12641280</max_size>"),
        (document(network_disk(HOST.format(""))), "name='iqn.2013-07.com.example:a/0'"),
        (document("<graphics type='vnc' socket='/s'><listen type='address' address='::'/>"
                  "<listen type='none'/></graphics>"), "<listen type='socket' socket='/s'/>"),
        (document("<video><model type='qxl' ram='4294967295' vram='255'/></video>"),
         "ram='65536' vram='256'"),
        (document(SCSI.format(0, "") + SCSI.format(1, "<address type='drive' unit='0'/>")),
         "<address type='drive' controller='0' bus='0' target='0' unit='1'/>"),
        (document("<hostdev mode='subsystem' type='pci'><source/></hostdev>"),
         "<address domain='0x0000' bus='0x00' slot='0x00' function='0x0'/>"),
        (document(top="<sysinfo type='smbios'><bios><entry name='date'>b</entry>"
                      "<entry name='vendor'>a</entry><entry name='colour'>c</entry></bios>"
                      "</sysinfo>"),
         "<bios>\n      <entry name='vendor'>a</entry>\n      <entry name='date'>b</entry>\n    "
         "</bios>"),
        (document(top="<cputune><vcpusched vcpus='1' scheduler='idle' priority='9'/></cputune>"),
         "<vcpusched vcpus='1' scheduler='idle'/>"),
        (document("<vsock model='virtio'/>"), "<cid auto='yes'/>"),
        (document(top="<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='9' cpuset='1'/>"
                      "</cputune>"), "<vcpupin vcpu='0' cpuset='0'/>\n  </cputune>"),
        (document("<interface type='user'><model type=''/></interface>"),
         "<model type='rtl8139'/>"),
        (document(top="<features><apic/><apic eoi='on'/></features>"), "<apic eoi='on'/>"),
        (document().replace("<domain ", "<domain id='off' "), "<name>small</name>"),
    ],
)  # fmt: skip
def test_what_stock_makes_of_a_loose_document(
    xml: str, written: str, emulator_facts: EmulatorFacts
) -> None:
    assert written in format_domain(define(xml, emulator_facts), secure=True)
