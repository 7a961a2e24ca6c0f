"""The context of a worker: its process, driver, paths and hook scripts.

Owns: nothing; it is passed to the functions of the drivers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conf.settings import QemuConfig
from ipc import Event, Node
from supervisor.drivers.driver import Driver
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import ClientEvent, MonitorEvent
from supervisor.messages.worker import ForwardEvent
from supervisor.runtime.audit import AuditLog
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths
from supervisor.workers.previous_owners import PreviousOwners


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the functions of a worker need besides their domain."""

    process: ChildProcess
    hooks: Hooks
    driver: Driver
    paths: Paths  # with the driver's files
    audit: AuditLog = field(default_factory=AuditLog)

    @staticmethod
    def for_process(process: ChildProcess) -> WorkerContext:
        """Make the context of this process."""
        driver = DRIVERS[process.driver]
        paths = process.paths.for_driver(driver.name)
        config = process.config
        audit = AuditLog(level=config.audit_level, logs=config.audit_logging)
        return WorkerContext(process, Hooks(paths.hook(driver.name)), driver, paths, audit)

    @property
    def node(self) -> Node:
        """This process's node on the bus."""
        return self.process.node

    @property
    def config(self) -> QemuConfig:
        """qemu.conf, as the root has read it last."""
        return self.process.qemu_config

    @property
    def session(self) -> bool:
        """Whether the daemon is a user's (qemu:///session)."""
        return self.process.session

    @property
    def previous_owners(self) -> PreviousOwners:
        """The owners of files before guests used them, for this worker's domain."""

        def is_active(name: str) -> bool:
            return self.paths.status(name).exists()

        return PreviousOwners(
            self.paths.file_owners(),
            self.process.domain,
            is_active,
            remembers=self.config.remember_owner,
        )

    def publish(self, event: Event) -> None:
        """Publish an event to domd."""
        self.node.publish(event)

    def forward_event(
        self,
        family: str,
        event_id: int,
        uuid: bytes,
        payload: bytes,
        name: str = "",
        *,
        monitor: MonitorEvent | None = None,
    ) -> None:
        """Publish an encoded event to clients; domd forwards it to rpcd."""
        self.publish(
            ForwardEvent(
                event=ClientEvent(
                    family=family,
                    event_id=event_id,
                    driver=self.driver.name,
                    uuid=uuid,
                    name=name,
                    payload=payload,
                    monitor=monitor,
                )
            )
        )
