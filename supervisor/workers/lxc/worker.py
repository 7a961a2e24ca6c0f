"""The worker of a container: the messages of domd that only this driver has, and reboots.

Owns: the one container. May touch: it, through the modules beside this one.
May not touch: definitions, other containers.
"""

from __future__ import annotations

import logging
from typing import Final

from conf.errors import ConfError
from ipc import handles
from rpc.enums import DomainEventID, DomainShutoffReason
from rpc.errors import ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.drivers.lxc import LXC
from supervisor.messages.worker import DomainStatus, GetTuning, SetTuning, Tuning
from supervisor.objects.cgroup_controllers import require_controller
from supervisor.objects.domain_phase import PhaseTrigger
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.lxc import lifecycle
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.hotplug import attach, detach, update
from supervisor.workers.lxc.restart import restart_rebooted
from supervisor.workers.lxc.start import launch
from supervisor.workers.lxc.stats import get_stats
from supervisor.workers.lxc.stop import clean_up, stop
from supervisor.workers.lxc.tuning import get_tuning, set_tuning
from supervisor.workers.worker import Worker

MONITOR_S: Final = 30.0  # from the exit of init to that of its monitor, which cleans up

log = logging.getLogger(__name__)


LXC_OPS: Final = DriverOps(
    launch=launch,
    end=stop,
    clean_up=clean_up,
    attach=lambda container, request: attach(container, request.xml),
    detach=detach,
    update=update,
    shutdown=lifecycle.shutdown,
    reboot=lifecycle.reboot,
    suspend=lifecycle.suspend,
    resume=lifecycle.resume,
    get_stats=get_stats,
)


class LxcWorker(Worker[Container]):
    """The worker of one container."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context, LXC_OPS)

    def attach_guest(self, guest: Container) -> None:
        """Drive this container."""

        def init_exited() -> None:
            guest.run(self._init_exited(guest))

        guest.on_init_exit = init_exited
        if guest.init_pid == 0 and not guest.at_barrier:
            guest.run(self._init_exited(guest))
        super().attach_guest(guest)

    @handles(SetTuning)
    async def set_tuning(self, request: SetTuning) -> DomainStatus:
        """Change the limits."""
        guest = self.guest()
        if request.controller:
            present = guest.cgroup.has(request.controller)
            require_controller(request.controller, LXC.errors, present=present)
        try:
            await set_tuning(guest, request.controller, request.values)
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.LXC) from error
        return guest.get_status()

    @handles(GetTuning)
    def get_tuning(self, request: GetTuning) -> Tuning:
        """Read the limits."""
        return Tuning(statistics=get_tuning(self.guest(), request.controller))

    async def _init_exited(self, guest: Container) -> None:
        """Wait for the monitor, which exits after init; one that hangs is killed."""
        if not await guest.process.wait_exit(MONITOR_S):
            log.error("%s: init has exited, but liblxc's monitor has not", guest.name)
            await stop(guest, DomainShutoffReason.FAILED, graceful=False)

    async def _finish(self, guest: Container) -> None:
        """Handle the monitor's exit: restart a container that rebooted, else it is shut off."""
        if self._guest is guest and await self._restart_if_rebooted(guest):
            return
        await super()._finish(guest)  # it leaves the phase of a reboot that was none

    async def _restart_if_rebooted(self, guest: Container) -> bool:
        self._phases.step(PhaseTrigger.REBOOT)  # a destroy waits for the outcome
        try:
            restarted = await restart_rebooted(self._context, guest.status, guest.live_xml)
        except (ConfError, VirError, OSError) as error:
            log.error("%s has rebooted and cannot be started again: %s", guest.name, error)
            guest.status.ending, guest.status.restart = DomainShutoffReason.FAILED, False
            return False
        except BaseException:
            self._phases.step(PhaseTrigger.STOP)  # no request waits for this reboot any longer
            raise
        if restarted is None:
            return False
        log.info("%s is started again after a reboot", guest.name)
        guest.ended.set()
        guest.close()
        self.attach_guest(restarted)
        restarted.publish_status(with_xml=True)
        restarted.publish_event(DomainEventID.REBOOT, restarted.identity)
        return True
