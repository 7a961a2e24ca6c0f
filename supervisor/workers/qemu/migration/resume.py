"""Let a guest go on after a job that had paused it.

Owns: what is told of a guest that does not. May touch: the guest.
"""

from __future__ import annotations

import logging

from rpc.enums import DomainEventSuspendedDetailType, DomainEventType, DomainState
from rpc.errors import VirError
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.lifecycle.commands import start_vcpus
from supervisor.workers.state_table import Trigger

log = logging.getLogger(__name__)


async def resume_after_job(guest: Guest, cause: Trigger) -> None:
    """Let a guest go on that a job had paused; a failure is logged, and its state says so."""
    try:
        if guest.state is DomainState.PAUSED:
            await start_vcpus(guest, cause)
    except VirError as error:
        log.error("%s stays paused: its vCPUs cannot be started: %s", guest.name, error)
        guest.publish_status(DomainEventType.SUSPENDED, DomainEventSuspendedDetailType.API_ERROR)
