"""One process of the tree as the root sees it.

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
    """Where a process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # it ended, and waits for its next start
    DEGRADED = "degraded"  # it ended too often: it is tried seldom
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
    fork_id: int = 0  # of the fork that made the present process
    started: float = 0.0  # in the loop's time
    peer: Peer | None = None
    ending: bool = False  # it was told to end for good
    replacing: bool = False  # it was told to end, for a fresh one to follow at once
    is_replacement: bool = False  # its present process is such a fresh one
    history: RestartHistory = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no past."""
        self.history = RestartHistory(self.role.policy)

    @property
    def is_worker(self) -> bool:
        """Whether it drives a guest."""
        return bool(self.domain)
