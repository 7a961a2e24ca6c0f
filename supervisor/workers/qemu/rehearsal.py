"""Rehearsal: a worker takes a guest over, in the zygote, before any worker is forked.

Owns: a guest that is this process itself, and a monitor that nobody answers; both go again.
May touch: this process alone. May not touch: files, QEMU.

What Python writes to at its first use is written here, in pages that all workers share: see
`supervisor.runtime.warm_up`.
"""

from __future__ import annotations

import os
import socket

import msgspec

from ipc import Descriptor
from rpc.enums import DomainState
from supervisor.messages.child import Inheritance
from supervisor.messages.worker import GetStatus
from supervisor.objects.domain_status_xml import Status, format_status, parse_status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import boot_id
from supervisor.runtime.pidfd import GuestProcess, ProcessIdentity
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.handover import GuestState, inherit
from supervisor.workers.qemu.start.reconnect import watch
from supervisor.workers.qemu.worker import QemuWorker
from supervisor.workers.qemu.worker_limits import rehearse_limits

UUID = "00000000-0000-0000-0000-000000000001"


async def rehearse(process: ChildProcess, xml: str) -> None:
    """Take a guest over as the successor of its worker, report it, and let go of it.

    Args:
        process: a worker's, with nobody at the other end of its links.
        xml: of a live domain.
    """
    rehearse_limits(process)
    context = WorkerContext.for_process(process)
    pid = os.getpid()
    identity = ProcessIdentity(pid, 0, boot_id())
    status = Status(name="x", uuid=UUID, id=1, state=DomainState.RUNNING, reason=1, pid=pid)
    status, xml = parse_status(format_status(status, xml))
    guest = Guest(context, xml, status, GuestProcess.inherit(identity, os.pidfd_open(pid)))
    end, other = socket.socketpair()
    with other:
        monitor = Descriptor(end.detach())
        process_fd = Descriptor(os.pidfd_open(pid))
        state = msgspec.msgpack.encode(GuestState(b"", 0))
        inheritance = Inheritance(process=process_fd, monitor=monitor, state=state)
        watch(guest)
        inherit(guest, inheritance)
        inheritance.close()
        worker = QemuWorker(context)
        worker.attach_guest(guest)
        await worker.get_status(GetStatus())
        guest.close()
