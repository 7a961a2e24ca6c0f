"""What a worker has around it, apart from its guest.

Owns: nothing; it is handed to those who need it.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.settings import QemuConfig
from ipc import Event, Node
from supervisor.hooks import Hooks
from supervisor.messages.calls import ClientEvent
from supervisor.messages.worker import Relay
from supervisor.paths import Paths
from supervisor.process import Process

DRIVER = "qemu"


@dataclass(frozen=True, slots=True)
class Workplace:
    """One worker's surroundings."""

    process: Process
    hooks: Hooks

    @staticmethod
    def of(process: Process) -> Workplace:
        """The surroundings of this process."""
        return Workplace(process, Hooks(process.paths.hook(DRIVER)))

    @property
    def node(self) -> Node:
        """The bus."""
        return self.process.node

    @property
    def paths(self) -> Paths:
        """Where files lie."""
        return self.process.paths

    @property
    def config(self) -> QemuConfig:
        """qemu.conf as it was read last."""
        return self.process.qemu_config

    @property
    def session(self) -> bool:
        """Whether this is one user's daemon."""
        return self.process.session

    def publish(self, event: Event) -> None:
        """Tell domd."""
        self.node.publish(event)

    def relay(
        self, family: str, event_id: int, uuid: bytes, payload: bytes, name: str = ""
    ) -> None:
        """Tell clients, by way of domd."""
        self.publish(
            Relay(
                event=ClientEvent(
                    family=family,
                    event_id=event_id,
                    driver=DRIVER,
                    uuid=uuid,
                    name=name,
                    payload=payload,
                )
            )
        )
