"""The processors of a guest as its agent reports them.

Owns: counting them. May touch: the agent.
Source: QEMU 7.2, "QEMU Guest Agent Protocol Reference", guest-get-vcpus.
"""

from __future__ import annotations

import msgspec

from supervisor.messages.worker import AgentVcpus
from supervisor.workers.qemu.agent import guest_agent
from supervisor.workers.qemu.guest import Guest


class GuestVcpu(msgspec.Struct, frozen=True, rename="kebab"):
    """One processor of `guest-get-vcpus`."""

    logical_id: int
    online: bool


async def count_vcpus(guest: Guest) -> AgentVcpus:
    """Count the guest's processors, and those that it uses. Raises as `guest_agent.execute`."""
    vcpus = await guest_agent.query(guest, "guest-get-vcpus", list[GuestVcpu])
    return AgentVcpus(online=sum(each.online for each in vcpus), maximum=len(vcpus))
