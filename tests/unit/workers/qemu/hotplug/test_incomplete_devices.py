"""A device XML without some of its parts is attached, found and removed, or refused: no other end.

The devices are complete ones; each is tried with every single element and attribute left out, and
with every attribute empty.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Final

import pytest
from lxml import etree

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.defaults import complete
from conf.domain.device_list import add_device, find_device, remove_device, replace_device
from conf.domain.device_xml import KINDS, parse_device
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch_inputs import Context
from supervisor.workers.qemu.hotplug.plan import plan_attach
from supervisor.workers.qemu.hotplug.qmp_steps import attach_steps
from tests.unit.workers.qemu.argv.argv_plan import runtime

PCI: Final = "<address type='pci' domain='0x0000' bus='0x00' slot='0x1e' function='0x0'/>"
SOCKET: Final = "<source mode='connect' host='127.0.0.1' service='4000'/>"
#: At least one complete device of each kind.
COMPLETE: Final = (
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
    "<source file='/a'><encryption format='luks'><secret type='passphrase' usage='a'/></encryption>"
    f"</source><target dev='vdy' bus='virtio'/><serial>a</serial>{PCI}</disk>",
    "<disk type='network' device='disk'><auth username='a'><secret type='ceph' usage='a'/></auth>"
    "<source protocol='rbd' name='p/i'><host name='h' port='6789'/></source>"
    "<target dev='sdy' bus='scsi'/><address type='drive' controller='0' unit='3'/></disk>",
    f"<controller type='scsi' index='7' model='virtio-scsi'><driver queues='2'/>{PCI}</controller>",
    "<controller type='pci' index='7' model='pci-bridge'><target chassisNr='7'/></controller>",
    "<lease><lockspace>a</lockspace><key>b</key><target path='/a'/></lease>",
    "<filesystem type='mount'><driver type='virtiofs'/><source dir='/a'/><target dir='t'/>"
    "</filesystem>",
    "<interface type='network'><mac address='52:54:00:00:00:09'/><source network='n'/>"
    "<target dev='t0'/><model type='virtio'/><filterref filter='f'><parameter name='A' value='b'/>"
    f"</filterref><bandwidth><inbound average='1'/></bandwidth><link state='up'/>{PCI}</interface>",
    "<interface type='vhostuser'><source type='unix' path='/a' mode='client'/>"
    "<model type='virtio'/></interface>",
    "<interface type='udp'><source address='127.0.0.1' port='1'><local address='127.0.0.1' port='2'"
    "/></source><model type='virtio'/></interface>",
    f"<smartcard mode='passthrough' type='tcp'>{SOCKET}<protocol type='raw'/></smartcard>",
    f"<serial type='tcp'>{SOCKET}<protocol type='raw'/><target type='pci-serial' port='1'>"
    f"<model name='pci-serial'/></target>{PCI}</serial>",
    "<serial type='dev'><source path='/dev/a'/><target type='usb-serial'/></serial>",
    "<parallel type='file'><source path='/a'/><target port='1'/></parallel>",
    "<console type='pty'><target type='virtio' port='1'/></console>",
    f"<channel type='tcp'>{SOCKET}<target type='virtio' name='b'/></channel>",
    "<channel type='udp'><source mode='bind' host='::' service='1'/>"
    "<source mode='connect' host='::' service='2'/><target type='virtio' name='b'/></channel>",
    "<input type='passthrough' bus='virtio'><source evdev='/dev/a'/></input>",
    "<input type='tablet' bus='usb'><address type='usb' bus='0' port='3'/></input>",
    "<tpm model='tpm-tis'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm>",
    "<graphics type='vnc' port='5901' autoport='no' passwd='a'><listen type='address' address='::1'"
    "/></graphics>",
    "<sound model='ich6'><codec type='micro'/></sound>",
    f"<video><model type='qxl' vram='65536' heads='1'/>{PCI}</video>",
    "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0' bus='1' slot='2'"
    " function='0'/></source></hostdev>",
    "<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0x1234'/>"
    "<product id='0x4321'/></source></hostdev>",
    "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
    "<address bus='0' target='0' unit='0'/></source></hostdev>",
    f"<redirdev bus='usb' type='tcp'>{SOCKET}<address type='usb' bus='0' port='4'/></redirdev>",
    "<hub type='usb'><address type='usb' bus='0' port='4'/></hub>",
    f"<watchdog model='i6300esb' action='reset'>{PCI}</watchdog>",
    f"<memballoon model='virtio'><stats period='1'/>{PCI}</memballoon>",
    f"<rng model='virtio'><rate bytes='1' period='1'/><backend model='egd' type='tcp'>{SOCKET}"
    f"</backend>{PCI}</rng>",
    "<panic model='isa'><address type='isa' iobase='0x505'/></panic>",
    f"<shmem name='a'><model type='ivshmem-doorbell'/><server path='/a'/><msi vectors='1'/>{PCI}"
    "</shmem>",
    "<shmem name='a'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>",
    "<memory model='dimm'><source><pagesize unit='KiB'>4</pagesize></source>"
    "<target><size unit='MiB'>128</size><node>0</node></target></memory>",
    f"<vsock model='virtio'><cid auto='no' address='4'/>{PCI}</vsock>",
)
LIVE: Final = (
    "<domain type='qemu'><name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
    "<memory>65536</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><graphics type='vnc'/>"
    "<controller type='scsi' model='virtio-scsi'/><serial type='pty'/></devices></domain>"
)


def incomplete(xml: str) -> Iterator[str]:
    """A device, and it without each of its parts."""
    root = etree.fromstring(xml)
    yield xml
    for position, node in enumerate(root.iter()):
        for name in node.attrib:
            for value in (None, ""):
                changed = copy.deepcopy(root)
                part = list(changed.iter())[position]
                del part.attrib[name]
                if value is not None:
                    part.set(name, value)
                yield etree.tostring(changed, encoding="unicode")
        changed = copy.deepcopy(root)
        part = list(changed.iter())[position]
        parent = part.getparent()
        if parent is None:
            part.clear()
        else:
            parent.remove(part)
        yield etree.tostring(changed, encoding="unicode")


def attach(live: Domain, xml: str, facts: EmulatorFacts) -> None:
    """Plan an attach to a running guest, with its QMP commands, and its live XML after it."""
    plan = plan_attach(live, *parse_device(xml), facts)
    context = Context(plan.domain, facts, runtime(plan.domain))
    for device in (*plan.controllers, plan.device):
        attach_steps(context, device, first_node=9)
    attached = parse_domain(format_domain(live, live=True, secure=True))
    plan.merge_into(attached)
    written = format_domain(attached, live=True, secure=True)
    assert format_domain(parse_domain(written), live=True, secure=True) == written


def test_every_kind_of_device_is_tried() -> None:
    assert {etree.fromstring(xml).tag for xml in COMPLETE} == set(KINDS)


@pytest.mark.parametrize("device", COMPLETE)
def test_an_incomplete_device_is_changed_live_and_in_the_definition_or_refused(
    device: str, emulator_facts: EmulatorFacts
) -> None:
    live = complete(parse_domain(LIVE), emulator_facts)
    assign_aliases(live)
    live.id = 1
    for xml in incomplete(device):
        with contextlib.suppress(ConfError):
            attach(live, xml, emulator_facts)
        with contextlib.suppress(ConfError):
            find_device(live, *parse_device(xml))
        for change in (remove_device, replace_device):
            with contextlib.suppress(ConfError):
                definition = parse_domain(LIVE)
                add_device(definition, *parse_device(xml))
                change(definition, *parse_device(xml))
                complete(definition, emulator_facts)
