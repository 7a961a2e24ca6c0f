"""A process of the tree as the root keeps it.

Owns: its state. May not touch: the process itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ipc import Peer
from supervisor.messages.child import Inheritance
from supervisor.messages.root import ProcessState
from supervisor.root.roles import Role
from supervisor.runtime.restart_policy import RestartHistory


@dataclass(slots=True)
class Child:
    """A service or a worker."""

    role: Role
    name: str  # on the bus
    domain: str = ""  # a worker's
    uuid: str = ""
    pid_file: Path | None = None  # of a worker's guest
    state: ProcessState = ProcessState.STOPPED
    pid: int = 0
    fork_id: int = 0  # of the present process
    started: float = 0.0  # in the event loop's time
    peer: Peer | None = None
    ending: bool = False  # it is stopped for good
    replacing: bool = False  # it is stopped, and a new process follows at once
    is_replacement: bool = False  # the present process is that new one
    inherited: Inheritance | None = None  # a worker's, for the process that follows it
    history: RestartHistory = field(init=False)

    def __post_init__(self) -> None:
        """Start an empty restart history."""
        self.history = RestartHistory(self.role.policy)

    def drop_inherited(self) -> None:
        """Close what no process will inherit: QEMU takes one connection to its monitor."""
        if self.inherited is not None:
            self.inherited.close()
            self.inherited = None

    @property
    def is_worker(self) -> bool:
        """Whether it is the worker of a domain."""
        return bool(self.domain)
