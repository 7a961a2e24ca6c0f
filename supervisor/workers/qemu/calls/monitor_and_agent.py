"""QMP, HMP and agent commands of clients; host name and clock, by the agent.

Owns: nothing. May touch: QEMU, by QMP; the agent.
Source: libvirt 9.0, virDomainQemuMonitorCommand, virDomainQemuAgentCommand, virDomainGetTime.
"""

from __future__ import annotations

import itertools
import logging
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
from supervisor.objects.taints import Taint
from supervisor.workers.interface_addresses import query_leased_hostname
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.agent.replies import HostName
from supervisor.workers.qemu.guest import Guest, GuestProvider
from supervisor.workers.qemu.qmp.monitor import QmpError

CLIENT_S: Final = 50.0  # below the deadline of 60 s that rpcd and domd have for a call
NANOSECONDS: Final = 1_000_000_000
HMP: Final = int(DomainQemuMonitorCommandFlags.HMP)

log = logging.getLogger(__name__)


class MonitorAndAgent:
    """Calls that are passed to QEMU's monitor or the guest agent."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker
        self._numbers = itertools.count(1)

    async def domain_monitor_command(
        self, call: ClientCall, dom: DomainId, cmd: str, flags: int
    ) -> str:
        """Execute a client's QMP or HMP command and return the reply as QEMU sent it.

        Raises:
            VirError: INTERNAL_ERROR: it is not a command; OPERATION_TIMEOUT.
        """
        return await self._execute(cmd, flags, None)

    async def domain_monitor_command_with_files(
        self, call: ClientCall, dom: DomainId, cmd: str, flags: int
    ) -> str:
        """Execute a client's command with the descriptor that came with it (`getfd`, `add-fd`).

        Raises:
            VirError: INVALID_ARG: several descriptors; else as `domain_monitor_command`.
        """
        if len(call.descriptors) > 1:
            detail = "at most 1 fd can be passed to qemu along with a command"
            raise QEMU.errors.invalid_arg(detail)
        try:
            fd = call.descriptors[0].fileno() if call.descriptors else None
            return await self._execute(cmd, flags, fd)
        finally:
            for descriptor in call.descriptors:
                descriptor.close()

    async def _execute(self, cmd: str, flags: int, fd: int | None) -> str:
        guest = self._worker.guest()
        guest.taint(Taint.CUSTOM_MONITOR)
        if flags & HMP:
            arguments = {"command-line": cmd}
            command = "human-monitor-command"
            return await guest.monitor.query(command, str, arguments, timeout_s=CLIENT_S)
        try:
            raw = msgspec.Raw(cmd.encode())
            message = await guest.monitor.execute_raw(raw, timeout_s=CLIENT_S, fd=fd)
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
        """Execute a client's agent command and return the reply as the agent sent it.

        Raises:
            VirError: AGENT_UNRESPONSIVE: no reply.
        """
        check_timeout(timeout)
        guest = self._worker.guest()
        guest_agent.require_agent(guest)
        try:
            members = msgspec.json.decode(cmd.encode(), type=dict[str, msgspec.Raw])
            command = str(msgspec.json.decode(members.get("execute", b'"<unknown>"')))
        except (msgspec.MsgspecError, RecursionError) as error:
            detail = f"cannot parse json {cmd[:200]}: {error}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
        line = cmd.replace("\n", " ").replace("\r", " ").encode()
        guest.taint(Taint.CUSTOM_GA_COMMAND)
        seconds = guest_agent.deadline_s(timeout)
        reply = await guest_agent.exchange(guest, command, line, seconds)
        if reply.error is not None:
            raise guest_agent.AgentError(command, reply.error)
        return msgspec.json.encode({"return": reply.return_value}).decode()

    async def domain_get_hostname(self, call: ClientCall, dom: DomainId, flags: int) -> str:
        """Query the guest's host name from DHCP leases, or from the agent.

        Raises:
            VirError: NO_HOSTNAME: no lease and no agent tells it; OPERATION_FAILED: netd does not
                answer.
        """
        guest = self._worker.guest()
        if flags & DomainGetHostnameFlags.LEASE:
            hostname = await query_leased_hostname(guest)
        else:
            guest_agent.require_agent(guest)
            hostname = await self._query_hostname(guest)
        if not hostname:
            detail = f"no hostname found for domain {guest.name}"
            raise VirError(ErrorCode.NO_HOSTNAME, detail, ErrorDomain.QEMU)
        return hostname

    async def _query_hostname(self, guest: Guest) -> str:
        """Query the agent; "" if it does not tell, as libvirt does with any error of the agent."""
        try:
            return (await guest_agent.query(guest, "guest-get-host-name", HostName)).host_name
        except VirError as error:
            log.info("the agent of '%s' tells no host name: %s", guest.name, error)
            return ""

    async def domain_get_time(self, call: ClientCall, dom: DomainId, flags: int) -> tuple[int, int]:
        """Query the guest's clock from the agent: seconds and nanoseconds since the epoch."""
        guest = self._worker.guest()
        time_ns = await guest_agent.query(guest, "guest-get-time", int)
        if not 0 <= time_ns < 1 << 64:
            detail = f"malformed return value of guest-get-time from the agent of '{guest.name}'"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        return time_ns // NANOSECONDS, time_ns % NANOSECONDS

    async def domain_set_time(
        self, call: ClientCall, dom: DomainId, seconds: int, nseconds: int, flags: int
    ) -> None:
        """Set the guest's clock, or with SYNC have it read its RTC.

        Raises:
            VirError: INVALID_ARG: the time is out of range.
        """
        total = seconds * NANOSECONDS + nseconds
        if not 0 <= total < 1 << 63:
            raise QEMU.errors.invalid_arg(f"Time '{seconds}' is too big for guest agent")
        guest = self._worker.guest()
        guest_agent.require_agent(guest)
        arguments = None if flags & DomainSetTimeFlags.SYNC else {"time": total}
        await guest_agent.execute(guest, "guest-set-time", arguments)
        # Ticks of the RTC that the guest missed would set its clock ahead again.
        try:
            await guest.monitor.execute("rtc-reset-reinjection")
        except QmpError as refusal:
            if refusal.error_class != "CommandNotFound":  # a command of x86 alone
                raise


def check_timeout(timeout: int) -> None:
    """Refuse an agent timeout that is none of virDomainQemuAgentCommandTimeoutValues.

    Raises:
        VirError: INVALID_ARG: it is below -2.
    """
    least = int(DomainQemuAgentCommandTimeoutValues.MIN)
    if timeout < least:
        detail = f"guest agent timeout '{timeout}' is less than the minimum '{least}'"
        raise QEMU.errors.invalid_arg(detail)
