"""hostd's calls whose answer depends on the driver that the client has opened.

Owns: one method per procedure, named as in the table; which driver answers.
May touch: the node and emulators, through their own modules. May not touch: guests.
"""

from __future__ import annotations

import os

from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.hostd.calls.emulator import EmulatorCalls
from supervisor.hostd.capabilities.lxc import (
    TYPE,
    ContainerHost,
    kernel_version,
    write_capabilities,
    write_domain_capabilities,
)
from supervisor.runtime.host import host_arch


class DriverCalls:
    """What the hypervisor answers about itself; a container's is the host's kernel."""

    def __init__(self, emulators: EmulatorCalls) -> None:
        """Have QEMU's answers given by this."""
        self._emulators = emulators

    def connect_get_type(self, call: ClientCall) -> str:
        """The driver's name."""
        return "LXC" if of_containers(call) else "QEMU"

    async def connect_get_version(self, call: ClientCall) -> int:
        """The version of the emulator, or of the kernel: 1000000 a major, 1000 a minor number."""
        if of_containers(call):
            return kernel_version(os.uname().release)
        return await self._emulators.version()

    async def connect_get_capabilities(self, call: ClientCall) -> str:
        """What the host is and what guests it can run."""
        if of_containers(call):
            emulators = self._emulators
            host = ContainerHost(emulators.uuid, host_arch(), emulators.platform())
            return write_capabilities(host)
        return await self._emulators.capabilities()

    async def connect_get_domain_capabilities(
        self,
        call: ClientCall,
        emulatorbin: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        flags: int,
    ) -> str:
        """What a guest's XML may ask of one emulator, machine and type."""
        HOST_ERRORS.check_flags("connectGetDomainCapabilities", flags)
        if of_containers(call):
            return write_domain_capabilities(
                host_arch(), emulator=emulatorbin, arch=arch, virt_type=virttype
            )
        return await self._emulators.domain_capabilities(emulatorbin, arch, machine, virttype)


def of_containers(call: ClientCall) -> bool:
    """Whether the client has opened the driver of containers."""
    return call.client.driver == TYPE
