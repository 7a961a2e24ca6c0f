"""A process of the tree as the root keeps it.

Owns: its state. May not touch: the process itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ipc import Peer
from supervisor.root.roles import Role
from supervisor.runtime.restart_policy import RestartHistory


class State(StrEnum):
    """The state of a process."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # it has exited, and its restart is scheduled
    DEGRADED = "degraded"  # it exited too often: the pauses are long
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(slots=True)
class Child:
    """A service or a worker."""

    role: Role
    name: str  # on the bus
    domain: str = ""  # a worker's
    uuid: str = ""
    pid_file: Path | None = None  # of a worker's guest
    state: State = State.STOPPED
    pid: int = 0
    fork_id: int = 0  # of the present process
    started: float = 0.0  # in the event loop's time
    peer: Peer | None = None
    ending: bool = False  # it is stopped for good
    replacing: bool = False  # it is stopped, and a new process follows at once
    is_replacement: bool = False  # the present process is that new one
    history: RestartHistory = field(init=False)

    def __post_init__(self) -> None:
        """Start an empty restart history."""
        self.history = RestartHistory(self.role.policy)

    @property
    def is_worker(self) -> bool:
        """Whether it is the worker of a domain."""
        return bool(self.domain)
