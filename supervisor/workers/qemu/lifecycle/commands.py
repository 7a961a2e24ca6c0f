"""Lifecycle commands of a running domain: shutdown, reboot, reset, suspend, resume, wakeup.

Owns: one function each. May touch: QEMU, by QMP; the guest agent.
Source: libvirt 9.0, virDomainShutdownFlags, virDomainReboot, virDomainSuspend and so on.
"""

from __future__ import annotations

import logging
from typing import Final

from conf.domain.validate.lifecycle import check_lifecycle_actions
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
    """Ask the guest to power off, by the agent or the ACPI power button.

    Raises:
        VirError: INVALID_ARG: other flags; OPERATION_INVALID: the vCPUs are stopped for good; those
            of the agent and the monitor.
    """
    reboots = lifecycle_actions.on_poweroff(guest.domain).action is lifecycle_actions.Action.RESTART
    await _request_shutdown(guest, flags, "powerdown", fake_reboot=reboots)


async def reboot(guest: Guest, flags: int) -> None:
    """Ask the guest to reboot, by the agent, or by the power button and a reset of the machine.

    Raises:
        VirError: as `shutdown`.
    """
    assert int(DomainRebootFlagValues.GUEST_AGENT) == AGENT, (
        "shutdown and reboot have the same flags"
    )
    again = lifecycle_actions.on_reboot(guest.domain).action is lifecycle_actions.Action.RESTART
    await _request_shutdown(guest, flags, "reboot", fake_reboot=again)


async def _request_shutdown(guest: Guest, flags: int, mode: str, *, fake_reboot: bool) -> None:
    # Without flags libvirt tries the agent first, and the power button if it fails.
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
            log.info("%s: shutdown by the guest agent failed: %s", guest.name, error)
        else:
            return
    # ACPI has no reboot button: the guest powers off, and the worker resets the machine then.
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
    """Reset the machine, as its reset button does."""
    _set_fake_reboot(guest, fake_reboot=False)
    await guest.monitor.execute("system_reset")


async def suspend(guest: Guest) -> None:
    """Stop the vCPUs; nothing is done if a client has paused the domain already.

    Raises:
        VirError: OPERATION_INVALID: the domain's state does not allow it.
    """
    if guest.state is DomainState.PAUSED:
        return  # perhaps by a `stop` that QEMU executed after its deadline
    require(guest.name, guest.state, Trigger.SUSPENDED)
    await stop_vcpus(guest, Trigger.SUSPENDED)


async def stop_vcpus(guest: Guest, cause: Trigger) -> None:
    """Stop the vCPUs of a guest that runs.

    Raises:
        VirError: QEMU does not.
    """
    guest.stop_cause = cause
    try:
        await guest.monitor.execute("stop", timeout_s=STOP_S)
    except VirError:
        guest.stop_cause = Trigger.STOPPED
        raise
    guest.transition(cause)  # no STOP comes from a QEMU that was stopped by then


async def resume(guest: Guest) -> None:
    """Start the vCPUs.

    Raises:
        VirError: OPERATION_INVALID: they run, or the guest is suspended to memory.
    """
    trigger = Trigger.CRASH_LEFT if guest.state is DomainState.CRASHED else Trigger.RESUMED
    require(guest.name, guest.state, trigger)
    await start_vcpus(guest, trigger)


async def start_vcpus(guest: Guest, cause: Trigger) -> None:
    """Start the vCPUs of a guest that is stopped.

    Raises:
        VirError: QEMU does not.
    """
    guest.disk_errors.clear()
    guest.resume_cause = cause
    try:
        await guest.monitor.execute("cont", timeout_s=STOP_S)
    except VirError:
        guest.resume_cause = Trigger.RESUMED
        raise
    if guest.state is not DomainState.RUNNING:
        guest.transition(cause)


async def set_action(guest: Guest, event: str, action: str) -> None:
    """Set the action for an event of the guest, in QEMU and in the live XML.

    Args:
        guest: that runs.
        event: "on_poweroff", "on_reboot" or "on_crash".
        action: as in the XML.

    Raises:
        ConfError: "config_unsupported": QEMU's guests cannot have it. VirError: those of QEMU.
    """
    domain = guest.domain
    previous = getattr(domain, event)
    allowed_reboot = lifecycle_actions.allows_reboot(domain)
    setattr(domain, event, action)
    try:
        check_lifecycle_actions(domain)
        allows_reboot = lifecycle_actions.allows_reboot(domain)
        if allows_reboot != allowed_reboot:
            reboot = "reset" if allows_reboot else "shutdown"
            await guest.monitor.execute("set-action", {"reboot": reboot})
    except BaseException:
        setattr(domain, event, previous)
        raise
    guest.update_xml({event})


async def wake_up(guest: Guest) -> None:
    """Wake a guest from ACPI S3.

    Raises:
        VirError: INTERNAL_ERROR: it is not suspended to memory; QEMU says so.
    """
    await guest.monitor.execute("system_wakeup")
