"""Guests with devices of many kinds start, and QEMU calls nothing of how they do deprecated."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import EMULATOR
from tests.clients.libvirt_binding import libvirt

KINDS: Final = {
    "serial ports": (
        "<serial type='pty'/><serial type='null'/><serial type='file'>"
        "<source path='{folder}/log'/></serial><serial type='udp'>"
        "<source mode='connect' host='127.0.0.1' service='9'/>"
        "<source mode='bind' host='127.0.0.1' service='0'/></serial>"
    ),
    "sockets that are connected again": (
        "<channel type='unix'><source mode='connect' path='{folder}/peer'>"
        "<reconnect enabled='yes' timeout='7'/></source><target type='virtio' name='org.a.0'/>"
        "</channel><serial type='unix'><source mode='connect' path='{folder}/peer'>"
        "<reconnect enabled='no'/></source></serial>"
    ),
    "sockets that listen": (
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/>"
        "<protocol type='telnet'/></serial><channel type='unix'>"
        "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    ),
    "displays": (
        "<graphics type='vnc' autoport='yes' listen='127.0.0.1'/>"
        "<video><model type='vga'/></video><video><model type='virtio'/></video>"
    ),
    "input": (
        "<controller type='usb' model='qemu-xhci'/><input type='tablet' bus='usb'/>"
        "<input type='keyboard' bus='virtio'/><input type='mouse' bus='virtio'/>"
    ),
    "sound": (
        "<sound model='ich9'><codec type='micro'/></sound><sound model='ac97'/>"
        "<sound model='es1370'/><sound model='usb'/><audio id='1' type='none'/>"
        "<controller type='usb' model='qemu-xhci'/>"
    ),
    "the speaker": "<sound model='pcspk'/><audio id='1' type='none'/>",
    "disks": (
        "<disk type='file'><driver name='qemu' type='raw' cache='none'/>"
        "<source file='{folder}/0.img'/><target dev='vda' bus='virtio'/></disk>"
        "<disk type='file'><source file='{folder}/1.img'/><target dev='sda' bus='sata'/></disk>"
        "<disk type='file'><source file='{folder}/2.img'/><target dev='sdb' bus='scsi'/></disk>"
        "<disk type='file'><source file='{folder}/3.img'/><target dev='sdc' bus='usb'/></disk>"
        "<disk type='file' device='cdrom'><target dev='sdd' bus='sata'/></disk>"
        "<disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>"
        "<controller type='scsi' model='virtio-scsi'/><controller type='usb' model='qemu-xhci'/>"
    ),
    "SCSI controllers": (
        "<controller type='scsi' index='0' model='lsilogic'/>"
        "<controller type='scsi' index='1' model='lsisas1068'/>"
        "<controller type='scsi' index='2' model='virtio-scsi'/>"
    ),
    "interfaces": (
        "<interface type='user'><model type='virtio'/></interface>"
        "<interface type='user'><model type='e1000e'/></interface>"
        "<interface type='user'><model type='rtl8139'/></interface>"
        "<interface type='user'><model type='e1000'/></interface>"
    ),
    "small devices": (
        "<watchdog model='i6300esb' action='none'/><rng model='virtio'>"
        "<backend model='random'>/dev/urandom</backend></rng><memballoon model='virtio'/>"
        "<panic model='isa'/>"
    ),
    "the watchdog of the chipset": "<watchdog model='itco' action='reset'/>",
    "USB controllers": (
        "<controller type='usb' index='0' model='ich9-ehci1'/>"
        "<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>"
        "<controller type='usb' index='1' model='nec-xhci'/>"
        "<controller type='usb' index='2' model='piix3-uhci'/><hub type='usb'/>"
    ),
    "an IOMMU": "<iommu model='intel'><driver intremap='on'/></iommu>",
}
FEATURES: Final = {
    "none of the PC": "<features/>",
    "ACPI and its timers": (
        "<features><acpi/><apic/><pae/><vmport state='off'/><smm state='on'/><vmcoreinfo/>"
        "<ioapic driver='qemu'/></features><clock offset='localtime'>"
        "<timer name='rtc' tickpolicy='catchup'/><timer name='pit' tickpolicy='delay'/>"
        "<timer name='hpet' present='no'/></clock><pm><suspend-to-mem enabled='no'/>"
        "<suspend-to-disk enabled='no'/></pm>"
    ),
    "a topology of CPUs": (
        "<cpu mode='custom' match='exact'><model fallback='allow'>Nehalem</model>"
        "<topology sockets='1' dies='1' cores='2' threads='1'/><feature policy='disable' "
        "name='vmx'/><numa><cell id='0' cpus='0' memory='16' unit='MiB'/>"
        "<cell id='1' cpus='1' memory='16' unit='MiB'/></numa></cpu>"
    ),
    "the largest CPU": "<cpu mode='maximum'/>",
    "identity": (
        "<sysinfo type='smbios'><system><entry name='manufacturer'>A</entry></system></sysinfo>"
    ),
}


#: The remapping of an IOMMU's interrupts is refused with any other I/O APIC.
TOP: Final = "<features><acpi/><ioapic driver='qemu'/></features>"


def document(machine: str, devices: str = "", top: str = TOP) -> str:
    """A guest with nothing to boot."""
    return (
        f"<domain type='qemu'><name>kinds</name><memory unit='MiB'>32</memory><vcpu>2</vcpu>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>{top}"
        f"<devices><emulator>{EMULATOR}</emulator>{devices}</devices></domain>"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """Images, and a socket whose other end listens."""
    for number in range(4):
        (tmp_path / f"{number}.img").write_bytes(bytes(1 << 20))
    peer = socket.socket(socket.AF_UNIX)
    peer.bind(str(tmp_path / "peer"))
    peer.listen()
    (tmp_path / "peer").chmod(0o777)
    yield tmp_path
    peer.close()


def said(daemon: Daemon) -> list[str]:
    """What QEMU called deprecated since the guest's last start."""
    log = daemon.root / "var/log/libvirt/qemu/kinds.log"
    _, _, last = log.read_text().rpartition("starting up")
    return [line for line in last.splitlines() if "deprecated" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_devices_of_a_kind_start(daemon: Daemon, link: Any, folder: Path, kind: str) -> None:
    link.createXML(document("q35", KINDS[kind].format(folder=folder)), 0)
    assert link.lookupByName("kinds").state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert said(daemon) == []


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("feature", FEATURES)
def test_features_start(daemon: Daemon, link: Any, machine: str, feature: str) -> None:
    link.createXML(document(machine, top=FEATURES[feature]), 0)
    assert link.lookupByName("kinds").state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert said(daemon) == []
