"""Hands a running guest from the worker that has grown to a fresh one, which misses no event.

Owns: when a worker has nothing under way, and what its successor is given.
May touch: the monitor's socket; domd, by an event.

A start dirties some 7 MiB that nothing gives back; a worker that takes a guest over needs half of
them. QEMU sends its events to a connected monitor alone, so the connection itself is handed over,
with what was read of it: what QEMU sends meanwhile waits in the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

import msgspec

from ipc import Descriptor, Node
from rpc.enums import DomainState
from supervisor.messages.child import HandedOver, Inheritance
from supervisor.messages.worker import WorkerGrown
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.state_table import Trigger

#: How long a worker has had no call before it is renewed: after a start, and after a call that
#: needed the model. Who asks every minute is not answered by a new process each time.
AFTER_START_S: Final = 3.0
AFTER_CALL_S: Final = 120.0
MOST_S: Final = 600.0  # between two offers
#: After it the predecessor goes on: the root has not stopped it. The successor begins to read by
#: then, if domd has not asked it.
HANDOVER_S: Final = 5.0

log = logging.getLogger(__name__)


class GuestState(msgspec.Struct, frozen=True, array_like=True):
    """What the status file does not have."""

    unread: bytes  # of the monitor: a message that was not complete
    balloon_kib: int


def is_idle(guest: Guest) -> bool:
    """Return whether nothing of a guest is under way that its worker alone knows."""
    status = guest.status
    has_job = status.job or status.memory_file or status.loaded or status.resume_after_job
    changes_disks = status.block_jobs or status.overlays
    expects_event = (
        guest.unplugged
        or guest.has_event_waits
        or guest.stop_cause is not Trigger.STOPPED
        or guest.resume_cause is not Trigger.RESUMED
    )
    return (
        guest.is_connected
        and not guest.process.exited
        and guest.monitor.is_quiet
        and guest.state in (DomainState.RUNNING, DomainState.PAUSED)
        and not (has_job or changes_disks or expects_event or status.ending or status.restart)
        and not (guest.has_tasks or guest.device_lock.locked() or guest.agent_lock.holder)
        and not (guest.disk_errors or guest.perf.is_counting or guest.sessions)
    )


def hand_over(guest: Guest) -> HandedOver:
    """Stop reading the monitor, and return it for the successor."""
    guest.save()
    guest.drop_agent_connection()
    monitor = guest.monitor
    process = Descriptor(guest.process.share())
    end, unread = monitor.hand_over()
    asyncio.get_running_loop().call_later(HANDOVER_S, monitor.start_reading)
    guest.process.on_exit.insert(0, monitor.drain)  # it may exit before this worker is stopped
    state = msgspec.msgpack.encode(GuestState(unread, guest.balloon_kib))
    log.debug("%s is handed over", guest.name)
    inheritance = Inheritance(process=process, monitor=Descriptor(end), state=state)
    return HandedOver(inheritance=inheritance)


def inherit(guest: Guest, inheritance: Inheritance) -> None:
    """Take over the monitor that the predecessor has handed over.

    It is read from when domd asks for the guest's status: domd has subscribed to its events then.
    """
    state = msgspec.msgpack.decode(inheritance.state, type=GuestState)
    guest.balloon_kib = state.balloon_kib
    end = socket.socket(fileno=inheritance.monitor.take())
    monitor = guest.inherit_monitor(end, state.unread)
    asyncio.get_running_loop().call_later(HANDOVER_S, monitor.start_reading)
    guest.process.on_exit.append(monitor.drain)  # what QEMU said last tells why it has exited


class IdleWatch:
    """Tells domd when the worker has grown and nobody has called it for a while."""

    def __init__(self, context: WorkerContext, guest: Guest) -> None:
        self._context = context
        self._guest = guest
        self._pause_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, idle_s: float) -> None:
        """Look for such a time from now on."""
        if self._timer is None:
            self._pause_s = idle_s
            self._again(idle_s)

    def _again(self, pause_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        guest, node = self._guest, self._context.node
        if guest.process.exited:
            return
        idle_s = asyncio.get_running_loop().time() - node.last_call
        if idle_s < self._pause_s or not can_hand_over(node, guest):
            self._again(max(self._pause_s - idle_s, 1.0))
            return
        self._context.publish(WorkerGrown(uuid=guest.uuid))
        self._pause_s = min(2 * self._pause_s, MOST_S)  # domd may have something under way
        self._again(self._pause_s)


def can_hand_over(node: Node, guest: Guest) -> bool:
    """Return whether neither a client's call nor the guest needs this worker."""
    return not node.is_busy and is_idle(guest)
