"""What each driver does in its own way: the functions by which its workers act.

Owns: their shapes. May touch: nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import DetachDevice, Start, StatsParam, UpdateDevice
from supervisor.objects.domain_status_xml import Status
from supervisor.workers.context import WorkerContext
from supervisor.workers.running_guest import RunningGuest

G = TypeVar("G", bound=RunningGuest)
G_contra = TypeVar("G_contra", bound=RunningGuest, contravariant=True)


class End(Protocol[G_contra]):
    """Ends a guest; what follows its end is begun by that."""

    def __call__(
        self, guest: G_contra, reason: DomainShutoffReason, /, *, graceful: bool
    ) -> Awaitable[None]:
        """End it; SIGTERM alone if `graceful`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOps(Generic[G]):
    """One driver's."""

    launch: Callable[[WorkerContext, Start], Awaitable[G]]  # if it fails, nothing is left
    end: End[G]
    #: removes what a guest leaves behind, except its status document
    clean_up: Callable[[WorkerContext, Status, str], Awaitable[None]]
    attach: Callable[[G, str], Coroutine[Any, Any, None]]
    detach: Callable[[G, DetachDevice], Awaitable[None]]
    update: Callable[[G, UpdateDevice], Coroutine[Any, Any, None]]
    shutdown: Callable[[G, int], Awaitable[None]]  # with virDomainShutdownFlagValues
    reboot: Callable[[G, int], Awaitable[None]]  # with virDomainRebootFlagValues
    suspend: Callable[[G], Awaitable[None]]
    resume: Callable[[G], Awaitable[None]]
    get_stats: Callable[
        [G, int], Awaitable[list[StatsParam]]
    ]  # figures of these virDomainStatsTypes
