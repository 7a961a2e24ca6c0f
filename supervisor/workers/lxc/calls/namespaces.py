"""Calls into a container: its namespaces, processes, host name and addresses.

Owns: nothing. May touch: the container's processes; netd, for addresses.
Source: libvirt 9.0, virDomainLxcOpenNamespace, virDomainSendProcessSignal, virDomainGetHostname,
virDomainInterfaceAddresses.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from ipc import Descriptor
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import DomainInterface
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.lxc import LXC
from supervisor.workers.cgroups import containers
from supervisor.workers.interface_addresses import query_addresses
from supervisor.workers.lxc.calls.consoles import ContainerProvider
from supervisor.workers.lxc.commands import run_program
from supervisor.workers.lxc.container import Container
from supervisor.workers.lxc.interfaces import NSENTER
from supervisor.workers.lxc.proc_status import fields, is_host_namespace, read_status

#: In the order of setns(2) calls: the user namespace first, as it gives the rights to the others.
NAMESPACES: Final = ("user", "ipc", "uts", "net", "pid", "mnt")
LAST_SIGNAL: Final = 64
UNAME: Final = "/usr/bin/uname"


class NamespaceCalls:
    """Answers these calls."""

    def __init__(self, worker: ContainerProvider) -> None:
        """Answer for the worker's container."""
        self._worker = worker

    def domain_open_namespace(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Return descriptors of the container's namespaces.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: it has no init at the moment; SYSTEM_ERROR.
        """
        container = self._worker.guest()
        pid = require_init_pid(container)
        try:
            for name in NAMESPACES:
                if is_host_namespace(pid, name):
                    continue  # EPERM from within the user namespace
                fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                call.answer_descriptors.append(Descriptor(fd))
        except OSError as error:
            detail = f"the namespaces of '{container.name}' cannot be opened: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC) from error

    def domain_send_process_signal(
        self, call: ClientCall, dom: DomainId, pid_value: int, signum: int, flags: int
    ) -> None:
        """Send a signal to a process of the container by its pid there; 1 is init.

        Raises:
            VirError: INVALID_ARG: no such signal or process; OPERATION_INVALID; SYSTEM_ERROR.
        """
        if not 0 <= signum <= LAST_SIGNAL:
            raise LXC.errors.invalid_arg(f"signum value {signum} is out of range")
        container = self._worker.guest()
        require_init_pid(container)
        pid = find_process(container, pid_value)
        try:
            fd = os.pidfd_open(pid)
            try:
                if signum:
                    signal.pidfd_send_signal(fd, signum)
            finally:
                os.close(fd)
        except OSError as error:
            detail = f"Unable to send {signum} signal to process {pid_value}: {error.strerror}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.LXC) from error

    async def domain_interface_addresses(
        self, call: ClientCall, dom: DomainId, source: int, flags: int
    ) -> list[DomainInterface]:
        """List the addresses of the container's interfaces, by DHCP leases or the ARP table.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED: a container has no agent; OPERATION_FAILED.
        """
        return await query_addresses(self._worker.guest(), source)

    async def domain_get_hostname(self, call: ClientCall, dom: DomainId, flags: int) -> str:
        """Read the container's host name from its UTS namespace.

        Raises:
            VirError: OPERATION_INVALID: it has no init at the moment; INTERNAL_ERROR.
        """
        pid = require_init_pid(self._worker.guest())
        status, output = await run_program(
            [NSENTER, f"--uts=/proc/{pid}/ns/uts", "--", UNAME, "-n"]
        )
        if status != 0:
            detail = f"the container's name cannot be read: {output}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.LXC)
        return output


def require_init_pid(container: Container) -> int:
    """Return the pid of the container's init.

    Raises:
        VirError: OPERATION_INVALID: there is none.
    """
    container.require_init()
    pid = container.init_pid
    if pid == 0:
        detail = f"Init pid is not yet available: '{container.name}' reboots or stops"
        raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.LXC)
    return pid


def find_process(container: Container, number: int) -> int:
    """Find the pid on the host of a process of the container.

    Raises:
        VirError: INVALID_ARG: there is none.
    """
    if number == 1:
        return container.init_pid
    for pid in containers.pids(container.group):
        if namespace_pid(read_status(pid)) == number:
            return pid
    raise LXC.errors.invalid_arg(f"the container '{container.name}' has no process {number}")


def namespace_pid(status: str) -> int:
    """Parse NSpid for the pid in the innermost namespace; 0: the field is missing."""
    numbers = fields(status, "NSpid")
    return int(numbers[-1]) if numbers else 0
