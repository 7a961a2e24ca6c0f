"""What a worker has around it, apart from its guest.

Owns: nothing; it is handed to those who need it.
"""

from __future__ import annotations

from dataclasses import dataclass

from conf.settings import QemuConfig
from ipc import Event, Node
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import ClientEvent
from supervisor.messages.worker import ForwardEvent
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker's surroundings."""

    process: ChildProcess
    hooks: Hooks
    driver: Driver
    paths: Paths  # with the driver's files

    @staticmethod
    def for_process(process: ChildProcess) -> WorkerContext:
        """The surroundings of this process."""
        driver = DRIVERS[process.driver]
        paths = process.paths.for_driver(driver.name)
        return WorkerContext(process, Hooks(paths.hook(driver.name)), driver, paths)

    @property
    def node(self) -> Node:
        """The bus."""
        return self.process.node

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

    def forward_event(
        self, family: str, event_id: int, uuid: bytes, payload: bytes, name: str = ""
    ) -> None:
        """Tell clients, by way of domd."""
        self.publish(
            ForwardEvent(
                event=ClientEvent(
                    family=family,
                    event_id=event_id,
                    driver=self.driver.name,
                    uuid=uuid,
                    name=name,
                    payload=payload,
                )
            )
        )
