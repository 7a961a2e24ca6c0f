"""hostd's calls whose answer depends on the driver that the client has opened.

Owns: one method per procedure, named as in the table; a `Hypervisor` for each driver.
May touch: the node and emulators, through their own modules. May not touch: guests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.drivers.table import DRIVERS
from supervisor.hostd.calls.emulator import EmulatorCalls
from supervisor.hostd.capabilities.lxc import (
    ContainerHost,
    kernel_version,
    write_capabilities,
    write_domain_capabilities,
)
from supervisor.runtime.host import host_arch


class Hypervisor(Protocol):
    """What a driver's hypervisor reports about itself."""

    async def version(self) -> int:
        """Return its version: 1000000 a major, 1000 a minor number."""

    async def capabilities(self) -> str:
        """Return the capabilities XML: the host and the guests that it can run."""

    async def domain_capabilities(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> str:
        """Return the domain capabilities XML of an emulator, machine and virtualization type."""


class LxcHypervisor:
    """LXC's hypervisor is the host's kernel."""

    def __init__(self, emulators: EmulatorCalls) -> None:
        self._emulators = emulators

    async def version(self) -> int:
        """Return the kernel's version."""
        return kernel_version(os.uname().release)

    async def capabilities(self) -> str:
        """Return the capabilities XML of the host's kernel."""
        emulators = self._emulators
        host = ContainerHost(emulators.uuid, host_arch(), emulators.platform())
        return write_capabilities(host)

    async def domain_capabilities(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> str:
        """Return what a container's XML may ask for; containers have no machine types."""
        return write_domain_capabilities(
            host_arch(), emulator=binary, arch=arch, virt_type=virt_type
        )


class ConnectionCalls:
    """Answers by the hypervisor of the client's driver."""

    def __init__(self, hypervisors: Mapping[str, Hypervisor]) -> None:
        """Answer with these.

        Args:
            hypervisors: by `Driver.name`.
        """
        self._hypervisors = hypervisors

    def connect_get_type(self, call: ClientCall) -> str:
        """Return the driver's name in capital letters."""
        return DRIVERS[call.client.driver].title

    async def connect_get_version(self, call: ClientCall) -> int:
        """Return the hypervisor's version: 1000000 a major, 1000 a minor number."""
        return await self._hypervisors[call.client.driver].version()

    async def connect_get_capabilities(self, call: ClientCall) -> str:
        """Return the capabilities XML."""
        return await self._hypervisors[call.client.driver].capabilities()

    async def connect_get_domain_capabilities(
        self,
        call: ClientCall,
        emulatorbin: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        flags: int,
    ) -> str:
        """Return the domain capabilities XML of one emulator, machine and type."""
        HOST_ERRORS.check_flags("connectGetDomainCapabilities", flags)
        hypervisor = self._hypervisors[call.client.driver]
        return await hypervisor.domain_capabilities(emulatorbin, arch, machine, virttype)
