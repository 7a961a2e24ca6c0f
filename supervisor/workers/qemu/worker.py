"""The QEMU driver's operations for the generic worker, and requests that only QEMU has.

Owns: the one domain. May touch: it, by the modules beside this one.
May not touch: definitions, other domains.
"""

from __future__ import annotations

from typing import Final

from conf.errors import ConfError
from ipc import Ack, handles
from supervisor.dispatch.errors import from_conf_error
from supervisor.messages.worker import (
    AgentVcpus,
    CountAgentVcpus,
    DomainStatus,
    Reset,
    SetAgentTimeout,
    SetLifecycleAction,
    Wakeup,
)
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.qemu.agent.guest_vcpus import count_vcpus
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.hotplug.detach import detach
from supervisor.workers.qemu.hotplug.update import attach_or_insert, update
from supervisor.workers.qemu.lifecycle import commands
from supervisor.workers.qemu.lifecycle.stop import clean_up, stop_process
from supervisor.workers.qemu.start.reconnect import watch
from supervisor.workers.qemu.start.start import launch
from supervisor.workers.qemu.stats.domain_stats import get_stats
from supervisor.workers.worker import Worker

MANNER: Final = DriverOps(
    launch=launch,
    end=stop_process,
    clean_up=clean_up,
    attach=attach_or_insert,
    detach=detach,
    update=update,
    shutdown=commands.shutdown,
    reboot=commands.reboot,
    suspend=commands.suspend,
    resume=commands.resume,
    get_stats=get_stats,
)


class QemuWorker(Worker[Guest]):
    """The worker of one QEMU."""

    def __init__(self, workplace: WorkerContext) -> None:
        super().__init__(workplace, MANNER)

    def attach_guest(self, guest: Guest) -> None:
        """Handle the domain's QEMU events, then serve it."""
        watch(guest)
        super().attach_guest(guest)

    @handles(Reset)
    async def reset(self, _: Reset) -> Ack:
        """Reset the machine (virDomainReset)."""
        await commands.reset(self.guest())
        return Ack()

    @handles(Wakeup)
    async def wakeup(self, _: Wakeup) -> Ack:
        """Wake the guest from S3 (virDomainPMWakeup)."""
        await commands.wake_up(self.guest())
        return Ack()

    @handles(CountAgentVcpus)
    async def count_agent_vcpus(self, _: CountAgentVcpus) -> AgentVcpus:
        """Count the processors that the guest's agent reports (VIR_DOMAIN_VCPU_GUEST)."""
        return await count_vcpus(self.guest())

    @handles(SetLifecycleAction)
    async def set_lifecycle_action(self, request: SetLifecycleAction) -> DomainStatus:
        """Set what happens when the guest powers off, reboots or crashes."""
        guest = self.guest()
        try:
            await commands.set_action(guest, request.event, request.action)
        except ConfError as error:
            raise from_conf_error(error, self._errors.domain) from error
        return guest.get_status()

    @handles(SetAgentTimeout)
    def set_agent_timeout(self, request: SetAgentTimeout) -> Ack:
        """Set how long commands wait for the guest agent (virDomainAgentSetResponseTimeout)."""
        guest = self.guest()
        guest.status.agent_timeout = request.timeout
        guest.save()
        return Ack()
