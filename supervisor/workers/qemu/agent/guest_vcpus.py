"""The processors of a guest as its agent reports them, and which of them it uses.

Owns: counting and setting them. May touch: the agent.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference", guest-get-vcpus, guest-set-vcpus; libvirt
9.0, qemuAgentUpdateCPUInfo, qemuDomainSetGuestVcpus.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from conf.types.cpuset import format_cpuset
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.worker import AgentVcpus
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import Guest


class GuestVcpu(msgspec.Struct, frozen=True, rename="kebab"):
    """One processor of `guest-get-vcpus`."""

    logical_id: int
    online: bool
    can_offline: bool = False


async def count_vcpus(guest: Guest) -> AgentVcpus:
    """Count the guest's processors, and those that it uses. Raises as `guest_agent.execute`."""
    vcpus = await query_vcpus(guest)
    return AgentVcpus(online=sum(each.online for each in vcpus), maximum=len(vcpus))


async def set_vcpu_count(guest: Guest, count: int) -> None:
    """Have the guest use this many of its processors.

    Raises:
        VirError: INTERNAL_ERROR: it has fewer, or cannot do without some; as `query_vcpus`.
    """
    await _set(guest, plan_count(await query_vcpus(guest), count))


async def set_vcpus(guest: Guest, numbers: frozenset[int], *, online: bool) -> None:
    """Have the guest use these processors, or not.

    Raises:
        VirError: INVALID_ARG: it has no such processor, or cannot do without it; as `query_vcpus`.
    """
    await _set(guest, plan_vcpus(await query_vcpus(guest), numbers, online=online))


async def query_vcpus(guest: Guest) -> list[GuestVcpu]:
    """Query the guest's processors. Raises as `guest_agent.execute`."""
    return await guest_agent.query(guest, "guest-get-vcpus", list[GuestVcpu])


def plan_count(vcpus: list[GuestVcpu], count: int) -> list[GuestVcpu]:
    """List the changes after which so many processors are online. Pure.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    if any(not vcpu.online and not vcpu.can_offline for vcpu in vcpus):
        raise _refused("Invalid data provided by guest agent")
    if count > len(vcpus):
        raise _refused("guest agent reports less cpu than requested")
    online = sum(vcpu.online for vcpu in vcpus)
    if count < online - sum(vcpu.online and vcpu.can_offline for vcpu in vcpus):
        raise _refused("Cannot offline enough CPUs")
    if count < online:
        chosen = [vcpu for vcpu in vcpus if vcpu.online and vcpu.can_offline][: online - count]
    else:
        chosen = [vcpu for vcpu in vcpus if not vcpu.online][: count - online]
    return [replace(vcpu, online=not vcpu.online) for vcpu in chosen]


def plan_vcpus(vcpus: list[GuestVcpu], numbers: frozenset[int], *, online: bool) -> list[GuestVcpu]:
    """List the changes after which these processors are online, or are not. Pure.

    Raises:
        VirError: INVALID_ARG.
    """
    missing = numbers - {vcpu.logical_id for vcpu in vcpus}
    chosen = [v for v in vcpus if v.logical_id in numbers and v.online is not online]
    for vcpu in chosen:
        if not vcpu.can_offline:
            detail = f"vCPU '{vcpu.logical_id}' is not offlinable"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    if missing:
        detail = f"guest is missing vCPUs '{format_cpuset(missing)}'"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
    return [replace(vcpu, online=online) for vcpu in chosen]


async def _set(guest: Guest, changes: list[GuestVcpu]) -> None:
    """Have the agent make the changes; it may make the first of them and report how many.

    Raises:
        VirError: INTERNAL_ERROR: it makes none.
    """
    while changes:
        wanted = [{"logical-id": vcpu.logical_id, "online": vcpu.online} for vcpu in changes]
        done = await guest_agent.query(guest, "guest-set-vcpus", int, {"vcpus": wanted})
        if not 0 < done <= len(changes):
            raise _refused("guest agent returned malformed or invalid return value")
        changes = changes[done:]


def _refused(detail: str) -> VirError:
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
