"""Status files as libvirt's own daemon writes them; every document is the tests' own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Final

UUID: Final = "5f0c8a52-7d0e-4a25-9a50-0c5f2a3b6d11"
PORT: Final = "9d5f9a1e-52d5-4d6e-8f52-6b1f3d0c7a20"

NODES: Final = (
    "<privateData><nodenames><nodename type='storage' name='libvirt-{0}-storage'/>"
    "<nodename type='format' name='libvirt-{0}-format'/></nodenames></privateData>"
)
DISKS: Final = f"""
<disk type='file' device='disk'><driver name='qemu' type='qcow2' copy_on_read='on'/>
<source file='/d/top.qcow2' index='4'>{NODES.format(4)}</source>
<backingStore type='file' index='2'><format type='qcow2'/>
<source file='/d/base.qcow2'>{NODES.format(2)}</source><backingStore/></backingStore>
<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>
<privateData><qom name='/machine/peripheral/virtio-disk0/virtio-backend'/></privateData></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/>
<alias name='sata0-0-0'/><privateData><qom name='sata0-0-0'/></privateData></disk>
"""
INTERFACES: Final = f"""
<interface type='network'><mac address='52:54:00:aa:00:01'/>
<source network='lab' portid='{PORT}'/>
<actual type='network'><source bridge='virbr3'/></actual>
<target dev='vnet4'/><model type='virtio'/><alias name='net0'/></interface>
<interface type='network'><mac address='52:54:00:aa:00:02'/>
<source network='outside' portid='{PORT[:-1]}1'/>
<actual type='bridge'><source bridge='br0'/><bandwidth><inbound average='100'/></bandwidth></actual>
<target dev='vnet5'/><model type='e1000'/><alias name='net1'/></interface>
<interface type='network'><mac address='52:54:00:aa:00:03'/>
<source network='direct' portid='{PORT[:-1]}2'/>
<actual type='direct'><source dev='eth0' mode='vepa'/></actual>
<target dev='macvtap0'/><model type='virtio'/><alias name='net2'/></interface>
<interface type='user'><mac address='52:54:00:aa:00:04'/><alias name='net3'/></interface>
"""
DOMAIN: Final = """\
<domain type='kvm' id='6'><name>web</name><uuid>{uuid}</uuid><memory>65536</memory>
<metadata><x:note xmlns:x='urn:x'><privateData>kept</privateData></x:note></metadata>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}
<graphics type='vnc' port='5901' autoport='yes' websocketGenerated='no'
listen='127.0.0.1' passwd='s'><listen type='address' address='127.0.0.1' fromConfig='1'/></graphics>
<memballoon model='none'/></devices></domain>
"""
STATUS: Final = """\
<!-- WARNING -->
<domstatus state='{state}' reason='{reason}' pid='{pid}'>
<taint flag='custom-monitor'/>
<deprecation>a setting</deprecation>
<monitor path='{monitor}' type='unix'/>
<namespaces><mount/></namespaces>
<vcpus><vcpu id='0' pid='77'/></vcpus>
<qemuCaps><flag name='tcg'/><flag name='set-action'/></qemuCaps>
{more}
<libDir path='/var/lib/libvirt/qemu/domain-6-web'/>
<nodename index='4'/><blockjobs active='no'/><agentTimeout>5</agentTimeout>
{domain}
</domstatus>
"""


def status_file(
    *,
    state: str = "paused",
    reason: str = "user",
    pid: int = 1,
    more: str = "",
    monitor: str = "/var/lib/libvirt/qemu/domain-6-web/monitor.sock",
    devices: str = DISKS + INTERFACES,
) -> str:
    """Write one."""
    domain = DOMAIN.format(uuid=UUID, devices=devices)
    return STATUS.format(
        state=state, reason=reason, pid=pid, more=more, monitor=monitor, domain=domain
    )


@contextlib.contextmanager
def process(program: str = "/bin/sh", *arguments: str) -> Iterator[int]:
    """Run a process with this command line; its number.

    It has written a line, so the kernel has its command line by now.
    """
    argv = [program, "-c", "echo; read line", *arguments]
    with subprocess.Popen(
        argv, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
