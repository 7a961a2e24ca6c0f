"""Clients' calls that talk to the emulator or to the agent in the guest.

Owns: nothing. May touch: the emulator, by QMP; the agent.
Source: libvirt 9.0, virDomainQemuMonitorCommand, virDomainQemuAgentCommand, virDomainGetTime.
"""

from __future__ import annotations

import itertools
from typing import Final

import msgspec

from rpc.enums import (
    DomainGetHostnameFlags,
    DomainQemuAgentCommandTimeoutValues,
    DomainQemuMonitorCommandFlags,
    DomainSetTimeFlags,
)
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import GuestProvider
from supervisor.workers.qemu.qmp.monitor import QmpError

CLIENT_S: Final = 50.0  # below the minute that rpcd and domd give a call
AGENT_S: Final = 5.0
NANOSECONDS: Final = 1_000_000_000
HMP: Final = int(DomainQemuMonitorCommandFlags.HMP)
SOURCES: Final = int(DomainGetHostnameFlags.LEASE | DomainGetHostnameFlags.AGENT)


class HostName(msgspec.Struct, frozen=True, rename="kebab"):
    """`guest-get-host-name`."""

    host_name: str = ""


class MonitorAndAgent:
    """Words that clients choose themselves."""

    def __init__(self, worker: GuestProvider) -> None:
        """Talk to the worker's guest."""
        self._worker = worker
        self._numbers = itertools.count(1)

    async def domain_monitor_command(
        self, call: ClientCall, dom: DomainId, cmd: str, flags: int
    ) -> str:
        """Have the emulator do what the client says; its answer as it is.

        Raises:
            VirError: INTERNAL_ERROR: it is no command; OPERATION_TIMEOUT.
        """
        QEMU.errors.check_flags("DomainQemuMonitorCommand", flags, HMP)
        guest = self._worker.guest()
        if flags & HMP:
            arguments = {"command-line": cmd}
            command = "human-monitor-command"
            return await guest.monitor.query(command, str, arguments, timeout_s=CLIENT_S)
        try:
            raw = msgspec.Raw(cmd.encode())
            message = await guest.monitor.execute_raw(raw, timeout_s=CLIENT_S)
        except ValueError as error:
            detail = f"cannot parse json {cmd[:200]}: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
        number = f"virtvisor-{next(self._numbers)}"
        if message.error is not None:
            return msgspec.json.encode({"id": number, "error": message.error}).decode()
        value = message.return_value if message.return_value is not None else msgspec.Raw(b"{}")
        return msgspec.json.encode({"return": value, "id": number}).decode()

    async def domain_agent_command(
        self,
        call: ClientCall,
        dom: DomainId,
        cmd: str,
        timeout: int,  # noqa: ASYNC109  (the table's name)
        flags: int,
    ) -> str:
        """Have the guest's agent do what the client says; its answer as it is.

        Raises:
            VirError: AGENT_UNRESPONSIVE: nobody answers.
        """
        QEMU.errors.check_flags("DomainQemuAgentCommand", flags)
        seconds = agent_timeout(timeout)
        try:
            msgspec.json.decode(cmd.encode(), type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError) as error:
            detail = f"cannot parse json {cmd[:200]}: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
        line = cmd.replace("\n", " ").replace("\r", " ").encode()
        reply = await guest_agent.exchange(self._worker.guest(), line, seconds)
        if reply.error is not None:
            command = msgspec.json.decode(cmd.encode(), type=dict[str, object])
            raise guest_agent.AgentError(str(command.get("execute")), reply.error)
        returned = reply.return_value or msgspec.Raw(b"{}")
        return msgspec.json.encode({"return": returned}).decode()

    async def domain_get_hostname(self, call: ClientCall, dom: DomainId, flags: int) -> str:
        """The guest's own name, from its agent.

        Raises:
            VirError: NO_HOSTNAME: by its leases, of which there are none.
        """
        QEMU.errors.check_flags("DomainGetHostname", flags, SOURCES)
        if flags == SOURCES:
            raise QEMU.errors.invalid_arg(
                "Flags 'LEASE' and 'AGENT' are mutually exclusive in 'flags'"
            )
        guest = self._worker.guest()
        if flags & DomainGetHostnameFlags.LEASE:
            detail = f"no hostname found for domain {guest.name}"
            raise VirError(ErrorCode.NO_HOSTNAME, detail, ErrorDomain.QEMU)
        reply = await guest_agent.query(guest, "guest-get-host-name", HostName)
        return reply.host_name

    async def domain_get_time(self, call: ClientCall, dom: DomainId, flags: int) -> tuple[int, int]:
        """The guest's clock, from its agent: seconds and nanoseconds since the epoch."""
        QEMU.errors.check_flags("DomainGetTime", flags)
        time_ns = await guest_agent.query(self._worker.guest(), "guest-get-time", int)
        return time_ns // NANOSECONDS, time_ns % NANOSECONDS

    async def domain_set_time(
        self, call: ClientCall, dom: DomainId, seconds: int, nseconds: int, flags: int
    ) -> None:
        """Set the guest's clock, or have it read its hardware's.

        Raises:
            VirError: INVALID_ARG: a time that cannot be.
        """
        QEMU.errors.check_flags("DomainSetTime", flags, int(DomainSetTimeFlags.SYNC))
        total = seconds * NANOSECONDS + nseconds
        if not 0 <= total < 1 << 63:
            raise QEMU.errors.invalid_arg(f"Time '{seconds}' is too big for guest agent")
        guest = self._worker.guest()
        guest_agent.require_agent(guest)
        arguments = None if flags & DomainSetTimeFlags.SYNC else {"time": total}
        await guest_agent.execute(guest, "guest-set-time", arguments)
        try:
            await guest.monitor.execute("rtc-reset-reinjection")
        except QmpError as refusal:
            if refusal.error_class != "CommandNotFound":  # only PCs' clocks have it
                raise


def agent_timeout(timeout: int) -> float:
    """How long a client wants to wait for the agent.

    Raises:
        VirError: INVALID_ARG.
    """
    values = DomainQemuAgentCommandTimeoutValues
    if timeout == values.BLOCK:
        return CLIENT_S
    if timeout == values.DEFAULT:
        return AGENT_S
    if timeout == values.NOWAIT:
        return 0.1
    if timeout < 0:
        raise QEMU.errors.invalid_arg(
            f"guest agent timeout '{timeout}' is less than the minimum '-2'"
        )
    return min(float(timeout), CLIENT_S)
