"""A process and its root, over the control link: what to do, read anew, stop.

Owns: the messages' shapes. Used by the root and by `supervisor.runtime.child`, by nobody else.
"""

from __future__ import annotations

import msgspec

from conf.settings import DaemonConfig, QemuConfig
from ipc import Descriptor, Event, Request


class ChildConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a process is given at its start; it closes the descriptors."""

    root: str  # every path of the system daemon lies below; "/" unless asked otherwise
    session: bool  # a daemon of one user: paths come from the environment
    config: DaemonConfig
    qemu_config: QemuConfig
    sockets: dict[str, Descriptor] = {}  # rpcd's, listening: "rw", "ro"
    driver: str = ""  # a worker's: `Driver.name`
    domain: str = ""  # a worker's: the guest's name
    uuid: str = ""  # a worker's: the guest's, as text
    is_replacement: bool = False  # a worker: its predecessor ended for it to take over, and is well


class GetConfig(Request[ChildConfig], frozen=True, kw_only=True, tag="root.begin"):
    """A new process, first of all: what am I to do?"""

    deadline_s = 10.0


class Reload(Event, frozen=True, kw_only=True, tag="child.reload"):
    """The configuration has been read anew."""

    config: DaemonConfig
    qemu_config: QemuConfig


class Stop(Event, frozen=True, kw_only=True, tag="child.stop"):
    """End in order, within 5 s; then the root kills."""

    why: str
