"""virDomain calls about pinning: on which of the host's CPUs a guest's threads may run.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`.
Source: libvirt 9.0, virDomainPinVcpuFlags, virDomainPinEmulator, virDomainPinIOThread; measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from conf.domain import Domain
from conf.domain.pins import check_vcpu_pin, pin_emulator, pin_iothread, pin_vcpu
from conf.domain.tuning import Cputune
from conf.errors import ConfError
from conf.types.cpuset import format_cpuset
from rpc.enums import DomainModificationImpact as Impact
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.domd.calls.query import cpumap as format_cpumap
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry
from supervisor.messages.worker_resources import PinThreads, Threads
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query

Check = Callable[[Definition | None, Definition | None], None]


class PinningCalls:
    """The calls of one driver."""

    def __init__(self, registry: DomainRegistry, changer: DomainChanger) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer

    # Queries.

    def domain_get_vcpu_pin_info(
        self, call: ClientCall, dom: DomainId, ncpumaps: int, maplen: int, flags: int
    ) -> tuple[bytes, int]:
        """Return on which of the host's CPUs each vCPU may run, as cpumaps of `maplen` bytes.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: as `select_for_query`.
        """
        self._errors.check_flags("DomainGetVcpuPinInfo", flags, IMPACT_FLAGS)
        self._check_positive(ncpumaps=ncpumaps, maplen=maplen)
        domain = select_for_query(self._registry.find(dom), flags).domain
        pins = {pin.vcpu: pin.cpuset for pin in (domain.cputune or Cputune()).vcpupins}
        count = min(ncpumaps, domain.maximum_vcpus)
        maps = (pin_map(pins.get(number), domain, maplen) for number in range(count))
        return b"".join(maps), count

    def domain_get_emulator_pin_info(
        self, call: ClientCall, dom: DomainId, maplen: int, flags: int
    ) -> tuple[bytes, int]:
        """Return on which of the host's CPUs the emulator's own threads may run.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: as `select_for_query`.
        """
        self._errors.check_flags("DomainGetEmulatorPinInfo", flags, IMPACT_FLAGS)
        self._check_positive(maplen=maplen)
        domain = select_for_query(self._registry.find(dom), flags).domain
        return pin_map((domain.cputune or Cputune()).emulatorpin, domain, maplen), 1

    def _check_positive(self, **numbers: int) -> None:
        for name, number in numbers.items():
            if number <= 0:
                raise self._errors.invalid_arg(f"{name} must be greater than zero")

    # Changes.

    async def domain_pin_vcpu(
        self, call: ClientCall, dom: DomainId, vcpu: int, cpumap: bytes
    ) -> None:
        """Pin a vcpu of a running guest."""
        await self.domain_pin_vcpu_flags(call, dom, vcpu, cpumap, Impact.LIVE)

    async def domain_pin_vcpu_flags(
        self, call: ClientCall, dom: DomainId, vcpu: int, cpumap: bytes, flags: int
    ) -> None:
        """Pin a vcpu; one that is not enabled is pinned when it is.

        Raises:
            VirError: INVALID_ARG: there is no such vcpu, or no CPU is left; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainPinVcpuFlags", flags, IMPACT_FLAGS)

        def check(live: Definition | None, config: Definition | None) -> None:
            try:
                # The worker checks a live change alone: its model is at hand.
                if live is not None and config is not None:
                    check_vcpu_pin(live.domain, vcpu, "live")
                if config is not None:
                    check_vcpu_pin(config.domain, vcpu, "persistent")
            except ConfError as error:
                raise from_conf_error(error, self._errors.domain) from error
            if not cpuset:
                raise self._errors.invalid_arg("Empty cpu list for pinning")

        cpuset = read_cpumap(cpumap)
        request = PinThreads(threads=Threads.VCPU, number=vcpu, cpuset=cpuset)
        await self._pin(dom, flags, check, lambda domain: pin_vcpu(domain, vcpu, cpuset), request)

    async def domain_pin_emulator(
        self, call: ClientCall, dom: DomainId, cpumap: bytes, flags: int
    ) -> None:
        """Pin the emulator's threads that are neither vcpus nor iothreads.

        Raises:
            VirError: INVALID_ARG: no CPU is left; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainPinEmulator", flags, IMPACT_FLAGS)
        cpuset = read_cpumap(cpumap)

        def check(_: Definition | None, __: Definition | None) -> None:
            if not cpuset:
                raise self._errors.invalid_arg("Empty cpu list for pinning")

        request = PinThreads(threads=Threads.EMULATOR, cpuset=cpuset)
        await self._pin(dom, flags, check, lambda domain: pin_emulator(domain, cpuset), request)

    async def domain_pin_iothread(
        self, call: ClientCall, dom: DomainId, iothreads_id: int, cpumap: bytes, flags: int
    ) -> None:
        """Pin an iothread.

        Raises:
            VirError: INVALID_ARG: there is no such iothread, or no CPU is left; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainPinIOThread", flags, IMPACT_FLAGS)
        number, cpuset = iothreads_id, read_cpumap(cpumap)

        def check(live: Definition | None, config: Definition | None) -> None:
            if not cpuset:
                raise self._errors.invalid_arg("Empty iothread cpumap list for pinning")
            if live is not None and not has_iothread(live.domain, number):
                raise self._errors.invalid_arg(f"iothread {number} not found")
            if config is not None and not has_iothread(config.domain, number):
                raise self._errors.invalid_arg(f"iothreadid {number} not found")

        request = PinThreads(threads=Threads.IOTHREAD, number=number, cpuset=cpuset)
        await self._pin(
            dom, flags, check, lambda domain: pin_iothread(domain, number, cpuset), request
        )

    async def _pin(
        self,
        dom: DomainId,
        flags: int,
        check: Check,
        edit: Callable[[Domain], None],
        request: PinThreads,
    ) -> None:
        change = DomainChange(
            name="pinning", edit=edit, live_request=lambda _: request, revalidates=False,
            check=check, fields=("cputune",),
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)


def has_iothread(domain: Domain, number: int) -> bool:
    """Return whether a domain has the iothread."""
    return any(thread.id == number for thread in domain.iothread_list())


def pin_map(cpuset: str | None, domain: Domain, length: int) -> bytes:
    """Return a pin as a cpumap of `length` bytes; without one, <vcpu cpuset> or every CPU."""
    default = domain.vcpu.cpuset if domain.vcpu is not None else None
    cpus = format_cpumap(cpuset or default, os.cpu_count() or 1)
    return cpus[:length].ljust(length, b"\0")


def read_cpumap(cpumap: bytes) -> str:
    """Read a client's cpumap: a bit for each of the host's CPUs; "" for none."""
    bits = int.from_bytes(cpumap, "little")
    return format_cpuset(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)
