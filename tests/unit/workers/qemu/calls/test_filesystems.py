"""File systems that the agent reports are matched to the domain's disks by their addresses."""

from __future__ import annotations

import msgspec

from conf.domain import parse_domain
from supervisor.workers.qemu.agent.replies import Filesystem
from supervisor.workers.qemu.calls.filesystems import to_fsinfo

XML = """<domain type='qemu'><name>x</name><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/>
<address type='pci' domain='0' bus='0' slot='5' function='0'/></disk>
<disk type='file'><source file='/b'/><target dev='sda' bus='scsi'/>
<address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>
<disk type='file'><source file='/c'/><target dev='hdb' bus='ide'/>
<address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>
<controller type='scsi' index='0' model='virtio-scsi'>
<address type='pci' domain='0' bus='0' slot='6' function='0'/></controller>
<controller type='ide' index='0'>
<address type='pci' domain='0' bus='0' slot='1' function='1'/></controller>
</devices></domain>"""


def place(slot: int, function: int = 0, unit: int = 0) -> dict[str, object]:
    pci = {"domain": 0, "bus": 0, "slot": slot, "function": function}
    return {"pci-controller": pci, "bus-type": "x", "bus": 0, "target": 0, "unit": unit}


def test_disks_are_named_by_their_targets() -> None:
    devices = parse_domain(XML).devices
    reply = {
        "name": "dm-0",
        "mountpoint": "/",
        "type": "ext4",
        "disk": [place(5), place(6, unit=1), place(1, 1, unit=1), place(9), place(6, unit=7)],
    }
    info = to_fsinfo(msgspec.convert(reply, Filesystem), devices)
    assert info == ("/", "dm-0", "ext4", ["vda", "sda", "hdb"])
