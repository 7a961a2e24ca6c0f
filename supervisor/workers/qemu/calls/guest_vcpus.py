"""Which of its processors a guest uses, by its agent.

Owns: nothing. May touch: the agent.
Source: libvirt 9.0, qemuDomainGetGuestVcpus, qemuDomainSetGuestVcpus.
"""

from __future__ import annotations

from typing import Final

from conf.types.cpuset import format_cpuset, parse_cpuset
from rpc.errors import ErrorCode, VirError
from rpc.params import String, params
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.qemu.agent import guest_vcpus
from supervisor.workers.qemu.guest import GuestProvider

MAX_VCPU: Final = 4096  # the highest number in a map of a client's, and of the agent's


class GuestVcpuCalls:
    """virDomainGetGuestVcpus, virDomainSetGuestVcpus."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_get_guest_vcpus(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> list[TypedParam]:
        """Return which processors the guest has, uses and can do without, as sets.

        Raises:
            VirError: as `guest_agent.execute`.
        """
        vcpus = [
            vcpu
            for vcpu in await guest_vcpus.query_vcpus(self._worker.guest())
            if 0 <= vcpu.logical_id < MAX_VCPU
        ]
        sets = {
            "vcpus": [vcpu.logical_id for vcpu in vcpus],
            "online": [vcpu.logical_id for vcpu in vcpus if vcpu.online],
            "offlinable": [vcpu.logical_id for vcpu in vcpus if vcpu.can_offline],
        }
        return params({name: String(format_cpuset(numbers)) for name, numbers in sets.items()})

    async def domain_set_guest_vcpus(
        self, call: ClientCall, dom: DomainId, cpumap: str, state: int, flags: int
    ) -> None:
        """Have the guest use these processors, or not.

        Raises:
            VirError: INVALID_ARG: a bad map or state, no such processor, or one that has to stay;
                as `guest_agent.execute`.
        """
        if state not in (0, 1):
            raise QEMU.errors.invalid_arg("unsupported state value")
        try:
            numbers = parse_cpuset(cpumap)
        except ValueError as error:
            detail = f"Failed to parse bitmap '{cpumap}'"
            raise VirError(ErrorCode.INVALID_ARG, detail) from error
        await guest_vcpus.set_vcpus(self._worker.guest(), numbers, online=bool(state))
