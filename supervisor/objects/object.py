"""Object: what every domain, network, pool and secret has (libvirt's virDomainObj and the like).

Owns: one object's definition, runtime state, autostart mark and change lock, in memory.
May not touch: files, the bus, the host's resource behind the object.

A child of an object (a domain's snapshots and checkpoints, a network's ports) is an object of its
own type in a `Registry` that its parent holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.object_type import ObjectType

D = TypeVar("D")  # definition
R = TypeVar("R")  # runtime state


@dataclass(slots=True, eq=False)
class LibvirtObject(Generic[D, R]):
    """One object: defined, active, or both."""

    object_type: ObjectType
    name: str
    uuid: bytes
    definition: D | None = None  # None: transient, it ends with its runtime state
    runtime: R | None = None  # None: inactive
    autostart: bool = False
    change_lock: ChangeLock = field(init=False)

    def __post_init__(self) -> None:
        """Make the change lock."""
        self.change_lock = ChangeLock(self.name, self.object_type.errors)

    @property
    def errors(self) -> ServiceErrors:
        """The errors of its service or driver."""
        return self.object_type.errors

    @property
    def identity(self) -> object:
        """The object as the protocol encodes it (remote_nonnull_…); each class has its own."""
        raise NotImplementedError

    @property
    def live_definition(self) -> D | None:
        """The definition of the active object; None: it is inactive. Each class has its own."""
        raise NotImplementedError

    @property
    def current(self) -> D:
        """The definition in force: of the active object, else the persistent one."""
        definition = self.live_definition if self.is_active else self.definition
        assert definition is not None, "an object without definition and runtime is removed"
        return definition

    @property
    def is_persistent(self) -> bool:
        """Whether it has a definition."""
        return self.definition is not None

    @property
    def is_active(self) -> bool:
        """Whether it has runtime state."""
        return self.runtime is not None

    @property
    def is_listed(self) -> bool:
        """Whether clients see it: one that is only being created is in no list."""
        return self.definition is not None or self.runtime is not None

    @property
    def uuid_text(self) -> str:
        """The UUID with hyphens."""
        return str(UUID(bytes=self.uuid))
