"""What domd orders of a running guest: shutdown, reboot, reset, suspend, resume, wake up.

Owns: one function an order. May touch: the emulator, by QMP; the guest's agent.
Source: libvirt 9.0, virDomainShutdownFlags, virDomainReboot and their kin.
"""

from __future__ import annotations

import logging
from typing import Final

from rpc.enums import DomainRebootFlagValues, DomainShutdownFlagValues, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.workers import lifecycle_actions
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.state_table import Trigger, require

BUTTON: Final = int(DomainShutdownFlagValues.ACPI_POWER_BTN)
AGENT: Final = int(DomainShutdownFlagValues.GUEST_AGENT)
STOP_S: Final = 10.0

log = logging.getLogger(__name__)


async def shutdown(guest: Guest, flags: int) -> None:
    """Ask the guest to power off, by its agent or its power button.

    Raises:
        VirError: INVALID_ARG for other ways; whatever keeps it from being asked.
    """
    reboots = lifecycle_actions.on_poweroff(guest.domain).action is lifecycle_actions.Action.RESTART
    await _request_shutdown(guest, flags, "powerdown", fake_reboot=reboots)


async def reboot(guest: Guest, flags: int) -> None:
    """Ask the guest to reboot: its agent does, or it powers off and its machine is reset.

    Raises:
        VirError: as `shutdown`.
    """
    assert int(DomainRebootFlagValues.GUEST_AGENT) == AGENT, "both kinds of flags are alike"
    again = lifecycle_actions.on_reboot(guest.domain).action is lifecycle_actions.Action.RESTART
    await _request_shutdown(guest, flags, "reboot", fake_reboot=again)


async def _request_shutdown(guest: Guest, flags: int, mode: str, *, fake_reboot: bool) -> None:
    if flags & ~(BUTTON | AGENT):
        detail = f"unsupported flags ({flags & ~(BUTTON | AGENT):#x}); use acpi or agent"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    _check_vcpus_run(guest)
    by_agent = bool(flags & AGENT) or (not flags and guest_agent.is_connected(guest))
    if by_agent:
        _set_fake_reboot(guest, fake_reboot=fake_reboot and mode == "powerdown")
        try:
            await guest_agent.shutdown(guest, mode)
        except VirError as error:
            if flags == AGENT:
                raise
            log.info("%s: its agent cannot shut it down: %s", guest.name, error)
        else:
            return
    _set_fake_reboot(guest, fake_reboot=fake_reboot)
    await guest.monitor.execute("system_powerdown")


def _check_vcpus_run(guest: Guest) -> None:
    if guest.state in (DomainState.SHUTDOWN, DomainState.CRASHED):
        state = guest.state.name.lower()
        detail = f"domain '{guest.name}' is {state} already; reset or destroy it"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.QEMU)


def _set_fake_reboot(guest: Guest, *, fake_reboot: bool) -> None:
    if guest.status.fake_reboot != fake_reboot:
        guest.status.fake_reboot = fake_reboot
        guest.save()


async def reset(guest: Guest) -> None:
    """Press the machine's reset button."""
    _set_fake_reboot(guest, fake_reboot=False)
    await guest.monitor.execute("system_reset")


async def suspend(guest: Guest) -> None:
    """Stop the processors; those of a guest that is paused stand still already.

    Raises:
        VirError: OPERATION_INVALID: they stand still for another reason.
    """
    if guest.state is DomainState.PAUSED:
        return  # perhaps by an order that was given up and obeyed late
    require(guest.name, guest.state, Trigger.SUSPENDED)
    guest.stop_cause = Trigger.SUSPENDED
    try:
        await guest.monitor.execute("stop", timeout_s=STOP_S)
    except VirError:
        guest.stop_cause = Trigger.STOPPED
        raise
    guest.transition(Trigger.SUSPENDED)  # an emulator that had stopped by then told of nothing


async def resume(guest: Guest) -> None:
    """Let the processors run.

    Raises:
        VirError: OPERATION_INVALID: they run, or sleep.
    """
    trigger = Trigger.CRASH_LEFT if guest.state is DomainState.CRASHED else Trigger.RESUMED
    require(guest.name, guest.state, trigger)
    guest.disk_errors.clear()
    guest.resume_cause = trigger
    try:
        await guest.monitor.execute("cont", timeout_s=STOP_S)
    except VirError:
        guest.resume_cause = Trigger.RESUMED
        raise
    if guest.state is not DomainState.RUNNING:
        guest.transition(trigger)


async def wake_up(guest: Guest) -> None:
    """Wake a guest that sleeps by ACPI.

    Raises:
        VirError: OPERATION_INVALID: it does not sleep.
    """
    require(guest.name, guest.state, Trigger.WAKEUP)
    await guest.monitor.execute("system_wakeup")
