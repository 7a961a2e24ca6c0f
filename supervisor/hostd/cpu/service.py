"""hostd's answers about the CPU of a guest: with which it starts, and what it is once it runs.

Owns: which models and which host's CPU a question is about.
May touch: emulators through `supervisor.hostd.emulator.emulators`. May not touch: guests.
"""

from __future__ import annotations

from collections.abc import Sequence

from conf.domain.architectures import X86
from conf.domain.cpu import Cpu
from conf.domain.cpu_document import format_model, parse_cpu
from conf.emulator import EmulatorFacts
from ipc import handles
from supervisor.hostd.cpu.guest_cpu import (
    Guest,
    HostModels,
    is_chosen,
    resolve,
    unsupported,
    update,
    update_live,
)
from supervisor.hostd.cpu.host_cpu import host_features, host_models, hypervisor_models
from supervisor.hostd.cpu.models import Models
from supervisor.hostd.emulator.emulators import FAMILY, Emulators
from supervisor.hostd.node.node import Node
from supervisor.messages.hostd import CpuContext, CpuidWord, CpuText, DescribeLiveCpu, UpdateCpu
from supervisor.runtime.host import host_arch


class GuestCpus:
    """Answers workers and domd."""

    def __init__(self, node: Node, emulators: Emulators) -> None:
        self._node = node
        self._emulators = emulators

    async def resolve(self, facts: EmulatorFacts, context: CpuContext) -> Cpu:
        """Return the <cpu> with which a domain is started.

        Raises:
            VirError: as `ProbeEmulator`.
        """
        cpu = parse_cpu(context.cpu)
        accelerator = facts.accelerator(context.virt_type)
        if facts.arch not in X86 or accelerator is None or not is_chosen(cpu):
            return cpu
        models = await self._emulators.models(facts.binary)
        if cpu.check == "full" and cpu.mode == "custom" and not models.bits:
            raise unsupported("check='full' of <cpu> needs libvirt's map of CPU models")
        guest = Guest(
            arch=facts.arch,
            virt_type=context.virt_type,
            host_arch=host_arch(),
            is_native=is_native(facts.arch),
        )
        host = self._host(facts, context.virt_type, models)
        return resolve(cpu, guest, models, host, hypervisor_models(accelerator))

    def _host(self, facts: EmulatorFacts, virt_type: str, models: Models) -> HostModels | None:
        accelerator = facts.accelerator(virt_type)
        if accelerator is None:
            return None
        by_processor = virt_type == "kvm" and is_native(facts.arch)
        own = host_features(self._node.cpu_fields()) if by_processor else frozenset()
        return host_models(accelerator, models, own)

    @handles(UpdateCpu)
    async def update(self, request: UpdateCpu) -> CpuText:
        """Name the model and features that a definition's <cpu> leaves to the host."""
        binary = request.binary or self._emulators.default(request.arch or host_arch())
        facts = await self._emulators.facts(binary)
        cpu = parse_cpu(request.cpu)
        if facts.arch in X86:
            models = await self._emulators.models(binary)
            host = self._host(facts, request.virt_type, models)
            cpu = update(cpu, models, host.migratable if host is not None else None)
        return CpuText(cpu=format_model(cpu))

    @handles(DescribeLiveCpu)
    async def describe_live(self, request: DescribeLiveCpu) -> CpuText:
        """Name the features by which a running QEMU's CPU differs from its <cpu>."""
        models = await self._emulators.mapped_models(request.arch)
        if models is None:
            return CpuText(cpu=request.cpu)
        enabled = features_in(request.enabled, models)
        filtered = features_in(request.filtered, models)
        live = update_live(parse_cpu(request.cpu), models, enabled, filtered)
        return CpuText(cpu=format_model(live))


def is_native(arch: str) -> bool:
    """Return whether the host's processor runs an architecture's instructions."""
    return FAMILY.get(arch, arch) == FAMILY.get(host_arch(), host_arch())


def features_in(words: Sequence[CpuidWord], models: Models) -> frozenset[str]:
    """Return the features whose bits are set."""
    registers = {(word.leaf, word.subleaf, word.register): word.bits for word in words}
    return frozenset(
        name
        for name, bit in models.bits.items()
        if registers.get((bit.leaf, bit.subleaf, bit.register), 0) & bit.mask
    )
