"""What processes ask of the root, and tell it.

Owns: the messages' shapes. Receiver: the root. Links by name (`ipc.Connect`) are the bus's own.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Event, Request


class Ready(Request[Ack], frozen=True, kw_only=True, tag="root.ready"):
    """A process: links to me may be made from now on."""

    deadline_s = 10.0


class KeepRunning(Event, frozen=True, kw_only=True, tag="root.activity"):
    """A process: I have work that keeps the daemon up, or none any more (`--timeout`)."""

    busy: bool
    why: str


class WorkerSpawned(msgspec.Struct, frozen=True, kw_only=True):
    """The worker that is there."""

    name: str  # on the bus: "qemu:NAME", "lxc:NAME"
    pid: int


class SpawnWorker(Request[WorkerSpawned], frozen=True, kw_only=True, tag="root.spawn_worker"):
    """A driver's keeper: have a worker for a domain; one that is there already is answered.

    The keepers are domd and lxcd, each for its own driver's.
    Reply: before the worker is ready; `Node.link(name)` waits for that.
    Errors: INTERNAL_ERROR when it cannot be forked.
    """

    deadline_s = 10.0
    driver: str
    domain: str
    uuid: str  # as text


class EndWorker(Request[Ack], frozen=True, kw_only=True, tag="root.end_worker"):
    """A driver's keeper: end a worker for good; its guest is none of the root's business.

    An unknown worker is no error. It is told to stop, and killed after 5 s.
    """

    deadline_s = 10.0
    name: str  # on the bus


class ReplaceWorker(Request[Ack], frozen=True, kw_only=True, tag="root.renew_worker"):
    """A driver's keeper: have a fresh process take over from a worker, which ends in order first.

    Reply: when the fresh one answers, or has failed. Nothing happens to a worker that is not up.
    """

    deadline_s = 15.0
    name: str  # on the bus


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the tree."""

    name: str
    pid: int  # 0: not running
    state: str  # "starting", "running", "restarting", "degraded", "stopped"
    restarts: int
    uptime_s: float
    private_kib: int
    guest_pid: int = 0  # a worker's guest


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """The tree, the root first."""

    processes: list[ProcessStatus]


class ListProcesses(Request[Processes], frozen=True, kw_only=True, tag="root.list_processes"):
    """Any process: what runs."""

    deadline_s = 30.0
