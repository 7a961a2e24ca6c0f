"""The QEMU driver's operations for the generic worker, and requests that only QEMU has.

Owns: the one domain. May touch: it, by the modules beside this one.
May not touch: definitions, other domains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

from conf.errors import ConfError
from ipc import Ack, current_call, handles
from ipc.node import ROOT
from supervisor.dispatch.errors import from_conf_error
from supervisor.drivers.qemu import QEMU
from supervisor.messages.child import HandedOver, HandOver
from supervisor.messages.worker import (
    AbortJob,
    AgentVcpus,
    CountAgentVcpus,
    DomainStatus,
    Dump,
    FreshBoot,
    GetStatus,
    GetTuning,
    LoadSnapshot,
    NativeCommandLine,
    PlanCommandLine,
    Reset,
    RestoreImage,
    Save,
    SetAgentTimeout,
    SetLifecycleAction,
    SetTuning,
    Stats,
    Tuning,
    Wakeup,
    WorkerStatus,
)
from supervisor.messages.worker_resources import (
    AddIothread,
    PinThreads,
    RemoveIothread,
    SetAgentVcpus,
    SetBalloon,
    SetBalloonPeriod,
    SetIothread,
    SetVcpuCount,
    SetVcpus,
)
from supervisor.messages.worker_tuning import GetIotune, SetIotune, SetPerfEvents
from supervisor.objects.domain_phase import DomainPhase, PhaseTrigger
from supervisor.runtime.shield import run_to_completion
from supervisor.workers.context import WorkerContext
from supervisor.workers.driver_ops import DriverOps
from supervisor.workers.qemu import balloon, iothreads, perf, vcpus
from supervisor.workers.qemu.affinity import pin_threads
from supervisor.workers.qemu.agent.guest_vcpus import count_vcpus, set_vcpu_count
from supervisor.workers.qemu.block.backup_ends import abort_backup
from supervisor.workers.qemu.block.io_limits import get_io_limits, set_io_limits
from supervisor.workers.qemu.cgroup.tuning import (
    get_tuning,
    open_scheduler,
    publish_tunable,
    set_tuning,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.handover import (
    AFTER_CALL_S,
    AFTER_START_S,
    IdleWatch,
    can_hand_over,
    hand_over,
)
from supervisor.workers.qemu.hotplug.detach import detach
from supervisor.workers.qemu.hotplug.update import attach_or_insert, update
from supervisor.workers.qemu.image_requests import ImageRequests
from supervisor.workers.qemu.lifecycle import commands
from supervisor.workers.qemu.lifecycle.stop import clean_up, stop_process
from supervisor.workers.qemu.migration.dump import dump
from supervisor.workers.qemu.migration.guest_job import abort_job
from supervisor.workers.qemu.migration.save import save
from supervisor.workers.qemu.start.native_command_line import plan_native
from supervisor.workers.qemu.start.reconnect import watch
from supervisor.workers.qemu.start.start import launch
from supervisor.workers.qemu.stats.domain_stats import get_stats

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
    sources=(FreshBoot, LoadSnapshot, RestoreImage),
)


PLANNED_S: Final = PlanCommandLine.deadline_s  # the life of a worker that only plans


class QemuWorker(ImageRequests):
    """The worker of one QEMU."""

    def __init__(self, workplace: WorkerContext) -> None:
        super().__init__(workplace, MANNER)

    def attach_guest(self, guest: Guest) -> None:
        """Handle the domain's QEMU events, then serve it."""
        watch(guest)
        super().attach_guest(guest)
        idle_watch = IdleWatch(self._context, guest)
        guest.on_parsed = lambda: idle_watch.arm(AFTER_CALL_S)
        if self._context.process.inherited is None:  # it has started the guest, or found it
            idle_watch.arm(AFTER_START_S)

    @handles(GetStatus)
    async def get_status(self, request: GetStatus) -> WorkerStatus:
        """Return the guest's status; events that waited for the monitor's reader follow it."""
        reply = await super().get_status(request)
        guest = self._guest
        if guest is not None and guest.is_connected:
            asyncio.get_running_loop().call_soon(guest.monitor.start_reading)
        return reply

    @handles(HandOver)
    def hand_over(self, _: HandOver) -> HandedOver:
        """Hand the guest over to a successor, unless something is under way."""
        guest, node = self._guest, self._context.node
        if current_call().peer != ROOT or guest is None or self.phase is not DomainPhase.RUNNING:
            return HandedOver()
        return hand_over(guest) if can_hand_over(node, guest) else HandedOver()

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

    @handles(SetTuning)
    async def set_tuning(self, request: SetTuning) -> DomainStatus:
        """Change the limits of the guest's cgroup."""
        guest = self.guest()
        try:
            await set_tuning(guest, request.controller, request.values)
        except ConfError as error:
            raise from_conf_error(error, QEMU.error_domain) from error
        if request.tunable:
            publish_tunable(guest, request.tunable)
        return guest.get_status()

    @handles(GetTuning)
    def get_tuning(self, request: GetTuning) -> Tuning:
        """Read the limits of the guest's cgroup."""
        guest = self.guest()
        limits = get_tuning(guest, request.controller)
        cpu = request.open_files and request.controller == "cpu"
        return Tuning(statistics=limits, files=open_scheduler(guest.cgroup) if cpu else [])

    @handles(Save)
    async def save(self, request: Save) -> Ack:
        """Save the guest to a file and end it (virDomainSave)."""
        guest = self.guest()
        self._phases.step(PhaseTrigger.SAVE)
        try:
            # To its end, also if domd is gone: half a save leaves the guest paused.
            await run_to_completion(save(guest, request))
        except BaseException:
            self._phases.step(PhaseTrigger.JOB_FAILED)
            raise
        return Ack()

    @handles(Dump)
    async def dump(self, request: Dump) -> Ack:
        """Dump the guest to a file (virDomainCoreDump)."""
        await run_to_completion(dump(self.guest(), request))
        return Ack()

    @handles(AbortJob)
    async def abort_job(self, _: AbortJob) -> Ack:
        """Cancel the guest's job (virDomainAbortJob)."""
        guest = self.guest()
        if guest.status.backup is not None:
            # To its end: half of it leaves jobs that nobody knows are being cancelled.
            await run_to_completion(abort_backup(guest))
        else:
            await abort_job(guest)
        return Ack()

    @handles(SetIotune)
    async def set_iotune(self, request: SetIotune) -> DomainStatus:
        """Change a disk's I/O limits."""
        guest = await self.wait_running()
        async with guest.device_lock:
            try:
                await run_to_completion(set_io_limits(guest, request))
            except ConfError as error:
                raise from_conf_error(error, QEMU.error_domain) from error
        return guest.get_status()

    @handles(GetIotune)
    async def get_iotune(self, request: GetIotune) -> Stats:
        """Query a disk's I/O limits."""
        return Stats(statistics=await get_io_limits(self.guest(), request.path))

    @handles(SetPerfEvents)
    def set_perf_events(self, request: SetPerfEvents) -> DomainStatus:
        """Change which of the host's events are counted for the guest."""
        guest = self.guest()
        perf.set_events(guest, request.events)
        return guest.get_status()

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

    @handles(PlanCommandLine)
    async def plan_command_line(self, request: PlanCommandLine) -> NativeCommandLine:
        """Plan the command line of a domain that is not started."""
        if self.phase is not DomainPhase.SHUT_OFF:
            detail = f"'{self.name}' runs: its worker plans no other domain"
            raise self._errors.operation_invalid(detail)
        # domd ends this process at once; if domd is gone, it ends by itself.
        asyncio.get_running_loop().call_later(PLANNED_S, self._context.process.stopping.set)
        try:
            return NativeCommandLine(text=await plan_native(self._context, request.xml))
        except ConfError as error:
            raise from_conf_error(error, self._errors.domain) from error

    @handles(SetAgentTimeout)
    def set_agent_timeout(self, request: SetAgentTimeout) -> Ack:
        """Set how long commands wait for the guest agent (virDomainAgentSetResponseTimeout)."""
        guest = self.guest()
        guest.status.agent_timeout = request.timeout
        guest.save()
        return Ack()

    @handles(SetAgentVcpus)
    async def set_agent_vcpus(self, request: SetAgentVcpus) -> Ack:
        """Have the guest use this many of its processors (VIR_DOMAIN_VCPU_GUEST)."""
        await set_vcpu_count(self.guest(), request.count)
        return Ack()

    # Processors, threads and memory.

    @handles(SetVcpuCount)
    async def set_vcpu_count(self, request: SetVcpuCount) -> DomainStatus:
        """Plug or unplug vcpus."""
        guest = await self.wait_running()
        return await self._change_vcpus(guest, vcpus.set_count(guest, request))

    @handles(SetVcpus)
    async def set_vcpus(self, request: SetVcpus) -> DomainStatus:
        """Plug or unplug the vcpu that was named."""
        guest = await self.wait_running()
        return await self._change_vcpus(guest, vcpus.set_vcpus(guest, request))

    async def _change_vcpus(self, guest: Guest, work: Coroutine[None, None, None]) -> DomainStatus:
        """Change vcpus; without the device lock, which plugging one takes: see `detach_device`."""
        try:
            await run_to_completion(work)
        except ConfError as error:
            raise from_conf_error(error, self._errors.domain) from error
        return guest.get_status()

    @handles(PinThreads)
    async def pin_threads(self, request: PinThreads) -> DomainStatus:
        """Pin threads of the guest."""
        return await self._change_device(pin_threads(await self.wait_running(), request))

    @handles(SetBalloon)
    async def set_balloon(self, request: SetBalloon) -> DomainStatus:
        """Ask the guest to use this much memory."""
        guest = await self.wait_running()
        await balloon.set_balloon(guest, request.kib)
        return guest.get_status(with_xml=False)  # it changes when the guest does

    @handles(SetBalloonPeriod)
    async def set_balloon_period(self, request: SetBalloonPeriod) -> DomainStatus:
        """Set how often the balloon driver reports."""
        guest = await self.wait_running()
        return await self._change_device(balloon.set_period(guest, request.seconds))

    @handles(AddIothread)
    async def add_iothread(self, request: AddIothread) -> DomainStatus:
        """Start an iothread."""
        return await self._change_device(iothreads.add(await self.wait_running(), request.id))

    @handles(RemoveIothread)
    async def remove_iothread(self, request: RemoveIothread) -> DomainStatus:
        """End an iothread."""
        return await self._change_device(iothreads.remove(await self.wait_running(), request.id))

    @handles(SetIothread)
    async def set_iothread(self, request: SetIothread) -> DomainStatus:
        """Set how an iothread polls, and the size of its thread pool."""
        return await self._change_device(iothreads.configure(await self.wait_running(), request))
