"""What a worker has around it, apart from its guest.

Owns: nothing; it is handed to those who need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.settings import QemuConfig
from ipc import Event, Node
from rpc.errors import ErrorDomain
from supervisor.messages.calls import ClientEvent
from supervisor.messages.worker import ForwardEvent
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths

ERROR_DOMAINS: Final = {"qemu": ErrorDomain.QEMU, "lxc": ErrorDomain.LXC}


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker's surroundings."""

    process: ChildProcess
    hooks: Hooks
    driver: str  # "qemu", "lxc"
    paths: Paths  # with the driver's files

    @staticmethod
    def for_process(process: ChildProcess) -> WorkerContext:
        """The surroundings of this process."""
        driver = process.driver
        paths = process.paths.for_driver(driver)
        return WorkerContext(process, Hooks(paths.hook(driver)), driver, paths)

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

    @property
    def error_domain(self) -> ErrorDomain:
        """Whose errors these are."""
        return ERROR_DOMAINS[self.driver]

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
                    driver=self.driver,
                    uuid=uuid,
                    name=name,
                    payload=payload,
                )
            )
        )
