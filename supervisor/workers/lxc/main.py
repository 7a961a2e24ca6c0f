"""Main of a container's worker: it starts or reconnects to one container, and serves its calls.

Owns: one container, by liblxc's monitor; its status file. No other process talks to them.
May touch: what the container's XML names; its cgroups; hook scripts.
May not touch: definitions, client sockets, other containers.
Runs with: all capabilities, as liblxc makes namespaces, mounts and cgroups; everything in the
container is hostile.
"""

from __future__ import annotations

from typing import Final

from conf.domain import format_domain, parse_domain
from supervisor.runtime.child import ChildProcess
from supervisor.workers.cgroups.hierarchies import layout
from supervisor.workers.lxc.calls.consoles import Consoles, ContainerProvider
from supervisor.workers.lxc.calls.namespaces import NamespaceCalls
from supervisor.workers.lxc.calls.statistics import Statistics
from supervisor.workers.lxc.reconnect import reconnect
from supervisor.workers.lxc.worker import LxcWorker
from supervisor.workers.main import preload_worker, run_worker

#: What answers clients' calls (`owner=worker` in rpc/*.table); a method is named as its procedure.
CALLS: Final = (Consoles, Statistics, NamespaceCalls)
#: One of each kind of element that most containers have: reading it compiles their models.
SAMPLE_XML: Final = """
<domain type='lxc' id='1'><name>x</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
<memory>1024</memory><currentMemory>1024</currentMemory><vcpu>1</vcpu><metadata/>
<os><type arch='x86_64'>exe</type><init>/x</init><initarg>x</initarg></os>
<idmap><uid start='0' target='1' count='1'/><gid start='0' target='1' count='1'/></idmap>
<features><privnet/><capabilities policy='default'/></features><clock offset='utc'/>
<devices><emulator>/x</emulator><filesystem type='mount'><source dir='/x'/><target dir='/'/>
</filesystem><interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='x'/>
</interface><console type='pty'><target type='lxc' port='0'/></console></devices></domain>
"""


def preload() -> None:
    """Build in the zygote what every worker needs, so that they share its pages."""
    format_domain(parse_domain(SAMPLE_XML), live=True, secure=True)
    preload_worker(LxcWorker, "lxc", CALLS)
    layout()


async def run(process: ChildProcess) -> None:
    """Serve one container until the process is stopped; the container runs on then.

    Raises:
        SystemExit: another worker has the container.
    """
    await run_worker(process, LxcWorker, reconnect, call_targets)


def call_targets(worker: ContainerProvider) -> tuple[object, ...]:
    """Return the objects whose methods answer calls."""
    return tuple(calls(worker) for calls in CALLS)
