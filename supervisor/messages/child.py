"""Control messages between the root and each child: configuration, reload, stop.

Sent and handled by the root and `supervisor.runtime.child` only.
"""

from __future__ import annotations

import msgspec

from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Descriptor, Event, Request
from supervisor.access.roles import Roles


class Inheritance(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker leaves to its successor, so that this misses nothing of the guest."""

    process: Descriptor  # the guest's pidfd
    monitor: Descriptor  # the connected monitor, which the sender does not read any more
    state: bytes  # for the driver's worker

    def close(self) -> None:
        """Close the descriptors."""
        self.process.close()
        self.monitor.close()


class HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `HandOver`."""

    inheritance: Inheritance | None = None  # None: the worker has something under way


class ChildConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a child needs to start; it closes the descriptors."""

    root: str  # every path of the system daemon lies below; "/" unless asked otherwise
    session: bool  # a daemon of one user: paths come from the environment
    config: DaemonConfig
    qemu_config: QemuConfig
    sockets: dict[str, Descriptor] = {}  # rpcd's, listening: "rw", "ro", "tcp:N", "tls:N"
    tls_port: int = 0  # authd's, for the announcement: where TLS clients come; 0: nowhere
    driver: str = ""  # a worker's: `Driver.name`
    domain: str = ""  # a worker's: the guest's name
    uuid: str = ""  # a worker's: the guest's, as text
    roles: Roles = Roles()  # of roles.conf; a worker gets none
    memory: int = 0  # bytes that it may write to; 0: no limit
    is_replacement: bool = False  # a worker: its predecessor ended for it to take over, and is well
    inherited: Inheritance | None = None  # a worker's, from its predecessor


class GetConfig(Request[ChildConfig], frozen=True, kw_only=True, tag="root.get_config"):
    """Get my configuration: the first message of a new child."""

    deadline_s = 10.0


class SignOfLife(Request[Ack], frozen=True, kw_only=True, tag="child.sign_of_life"):
    """Answer from the event loop: the root's watchdog asks."""

    deadline_s = 10.0


class HandOver(Request[HandedOver], frozen=True, kw_only=True, tag="child.hand_over"):
    """The root to a worker: hand your guest over to a successor, if nothing is under way.

    The worker gets `Stop` next; if it does not within some seconds, it goes on by itself.
    """

    deadline_s = 2.0


class Reload(Event, frozen=True, kw_only=True, tag="child.reload"):
    """The configuration files were reloaded."""

    config: DaemonConfig
    qemu_config: QemuConfig
    roles: Roles = Roles()


class SetLogLevel(Event, frozen=True, kw_only=True, tag="child.set_log_level"):
    """Send the root records of this of logging's levels and above."""

    level: int


class Stop(Event, frozen=True, kw_only=True, tag="child.stop"):
    """End in order; the root sends SIGKILL after 5 s."""

    why: str
