"""The QEMU worker: starts one domain or reconnects to it, and drives it until it ends.

Owns: one QEMU process, its monitor, its status XML; no other process talks to them.
May touch: what the domain's XML names; hook scripts.
May not touch: definitions, client sockets, other domains.
Runs with: those of root's rights that starting QEMU takes (`worker_limits`); what QEMU, the
guest or its agent sends is hostile.
"""

from __future__ import annotations

from typing import Final

from conf.domain import format_domain, parse_domain
from rpc.values import Domain
from supervisor.dispatch.events import encode_event
from supervisor.runtime.child import ChildProcess
from supervisor.workers.main import preload_worker, run_worker
from supervisor.workers.qemu.calls.consoles import Consoles
from supervisor.workers.qemu.calls.dirty_rate import DirtyRateCalls
from supervisor.workers.qemu.calls.disks import DiskCalls
from supervisor.workers.qemu.calls.display_and_input import DisplayAndInput
from supervisor.workers.qemu.calls.filesystems import FilesystemCalls
from supervisor.workers.qemu.calls.guest_agent import GuestAgentCalls
from supervisor.workers.qemu.calls.guest_vcpus import GuestVcpuCalls
from supervisor.workers.qemu.calls.interface_addresses import InterfaceAddressCalls
from supervisor.workers.qemu.calls.memory import MemoryCalls
from supervisor.workers.qemu.calls.monitor_and_agent import MonitorAndAgent
from supervisor.workers.qemu.calls.statistics import Statistics
from supervisor.workers.qemu.guest import GuestProvider
from supervisor.workers.qemu.rehearsal import rehearse
from supervisor.workers.qemu.start.reconnect import reconnect
from supervisor.workers.qemu.worker import QemuWorker
from supervisor.workers.qemu.worker_limits import limit_worker

#: What answers clients' calls (`owner=worker` in rpc/*.table); a method is named as its procedure.
CALLS: Final = (
    Consoles,
    DisplayAndInput,
    Statistics,
    MonitorAndAgent,
    InterfaceAddressCalls,
    FilesystemCalls,
    GuestAgentCalls,
    DiskCalls,
    DirtyRateCalls,
    GuestVcpuCalls,
    MemoryCalls,
)
#: The devices that most domains have: parsing them compiles their models.
SPECIMEN: Final = """
<domain type='kvm' id='1'><name>x</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
<memory>1024</memory><currentMemory>1024</currentMemory><vcpu>1</vcpu><metadata/>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<cpu mode='custom'><model>qemu64</model></cpu><clock offset='utc'><timer name='rtc'/></clock>
<devices><emulator>/x</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/x'/>
<target dev='vda' bus='virtio'/></disk>
<controller type='pci' index='0' model='pci-root'/>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial'/></console>
<channel type='unix'><target type='virtio' name='x'/></channel><input type='mouse' bus='ps2'/>
<graphics type='vnc' port='-1' autoport='yes'/><audio id='1' type='none'/>
<video><model type='vga'/></video><memballoon model='virtio'/></devices></domain>
"""


def preload() -> None:
    """Load models and codecs in the zygote: the workers that are forked share their pages."""
    xml = format_domain(parse_domain(SPECIMEN), live=True, secure=True)
    preload_worker(QemuWorker, "qemu", CALLS, lambda process: rehearse(process, xml))
    encode_event("domain_event_callback_tunable", Domain("x", bytes(16), 1), [])


def call_targets(worker: GuestProvider) -> tuple[object, ...]:
    """Make the objects whose methods answer clients' calls on the worker's domain."""
    return tuple(calls(worker) for calls in CALLS)


async def run(process: ChildProcess) -> None:
    """Serve one domain until the root stops this process; the guest runs on.

    Raises:
        SystemExit: another worker holds the domain's lock.
    """
    limit_worker(process)
    await serve(process)


async def serve(process: ChildProcess) -> None:
    """Serve the domain with the capabilities that the process has. It raises as `run`."""
    await run_worker(process, QemuWorker, reconnect, call_targets)
