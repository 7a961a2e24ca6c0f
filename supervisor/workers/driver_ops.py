"""DriverOps: the callbacks that the generic worker needs from QEMU and LXC.

Owns: their signatures. May touch: nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import (
    AttachDevice,
    DetachDevice,
    FreshBoot,
    Start,
    StatsParam,
    UpdateDevice,
)
from supervisor.objects.domain_status_xml import Status
from supervisor.workers.context import WorkerContext
from supervisor.workers.running_guest import RunningGuest

G = TypeVar("G", bound=RunningGuest)
G_contra = TypeVar("G_contra", bound=RunningGuest, contravariant=True)


class End(Protocol[G_contra]):
    """Ends a guest's process; the cleanup follows its exit, however that came about."""

    def __call__(
        self, guest: G_contra, reason: DomainShutoffReason, /, *, graceful: bool
    ) -> Awaitable[None]:
        """End the process: by SIGTERM alone if `graceful`, else by SIGKILL where that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOps(Generic[G]):
    """The operations of one driver."""

    launch: Callable[[WorkerContext, Start], Awaitable[G]]  # if it fails, all is undone
    sources: tuple[type, ...] = (FreshBoot,)  # of `Start.source` that `launch` implements
    end: End[G]
    #: Removes what a guest leaves behind, except its status file.
    clean_up: Callable[[WorkerContext, Status, str], Awaitable[None]]
    attach: Callable[[G, AttachDevice], Coroutine[Any, Any, None]]
    detach: Callable[[G, DetachDevice], Awaitable[None]]
    update: Callable[[G, UpdateDevice], Coroutine[Any, Any, None]]
    shutdown: Callable[[G, int], Awaitable[None]]  # with virDomainShutdownFlagValues
    reboot: Callable[[G, int], Awaitable[None]]  # with virDomainRebootFlagValues
    suspend: Callable[[G], Awaitable[None]]
    resume: Callable[[G], Awaitable[None]]
    get_stats: Callable[[G, int], Awaitable[list[StatsParam]]]  # of these virDomainStatsTypes
