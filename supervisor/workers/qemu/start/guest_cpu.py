"""The guest's <cpu> at its start: asked of hostd before QEMU runs, compared with QEMU's after.

Owns: when that is done, and what QEMU is asked.
May touch: the domain, QEMU by QMP. May not touch: what models and features there are (hostd knows).
Source: libvirt 9.0, qemuProcessUpdateGuestCPU, qemuProcessUpdateAndVerifyCPU, qemuDomainUpdateCPU.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from conf.domain import Domain
from conf.domain.architectures import X86
from conf.domain.cpu_document import (
    format_cpu,
    format_model,
    is_same_model,
    parse_cpu,
    with_model,
)
from conf.emulator import EmulatorFacts
from supervisor.messages.hostd import CpuContext, CpuidWord, DescribeLiveCpu, ProbeEmulator
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.qmp.monitor import Monitor, QmpError, Query
from supervisor.workers.qemu.qmp.replies import CpuInfoFast

WORDS: Final = ("feature-words", "filtered-features")  # what it has, and what it could not have

log = logging.getLogger(__name__)


class FeatureWord(msgspec.Struct, frozen=True, rename="kebab"):
    """One of QEMU's X86CPUFeatureWordInfo."""

    cpuid_input_eax: int
    cpuid_register: str
    features: int
    cpuid_input_ecx: int = 0


def probe_request(domain: Domain) -> ProbeEmulator:
    """Ask hostd what the domain's QEMU supports for its machine, and with which CPU it starts."""
    kind, cpu = domain.os.type, domain.cpu
    purpose = CpuContext(
        virt_type=domain.type,
        machine=(kind.machine if kind else None) or "",
        cpu=format_model(cpu) if cpu is not None else "",
    )
    arch = (kind.arch if kind else None) or ""
    return ProbeEmulator(binary=domain.devices.emulator or "", arch=arch, purpose=purpose)


async def probe_for(context: WorkerContext, domain: Domain) -> EmulatorFacts:
    """Return the facts of the domain's QEMU; its <cpu> becomes the one that it is started with.

    Raises:
        VirError: as `ProbeEmulator`.
    """
    probed = await context.node.link("hostd").call(probe_request(domain))
    if domain.cpu is not None and probed.cpu:
        domain.cpu = with_model(domain.cpu, parse_cpu(probed.cpu))
    return probed.facts


def take_saved_cpu(domain: Domain, saved: str) -> str:
    """Give a domain the CPU that it had when it was saved; its memory fits no other.

    Args:
        domain: of the image's XML.
        saved: the <cpu> of the image's cookie; "": it is the XML's.

    Returns:
        The <cpu> of the XML, where it is another one.
    """
    if not saved or domain.cpu is None:
        return ""
    cpu = parse_cpu(saved)
    if is_same_model(domain.cpu, cpu):
        return ""
    original, domain.cpu = format_cpu(domain.cpu), cpu
    return original


async def describe_live_cpu(guest: Guest, monitor: Monitor) -> None:
    """Have the live <cpu> name each feature by which QEMU's CPU differs from its model.

    Raises:
        VirError: OPERATION_FAILED: the <cpu> wants no difference, and there is one.
    """
    domain = guest.domain
    arch = (domain.os.type.arch if domain.os.type else None) or ""
    cpu = domain.cpu
    if cpu is None or arch not in X86 or cpu.mode == "host-model":
        return
    named = cpu.mode == "custom" and cpu.model is not None
    if not named and (cpu.mode in (None, "custom") or cpu.check != "full"):
        return  # it says nothing of the features, or wants nothing to be said
    cpus = await monitor.query("query-cpus-fast", list[CpuInfoFast])
    if not cpus:
        return
    path = min(cpus, key=lambda each: each.cpu_index).qom_path
    replies = await monitor.query_all(
        [Query("qom-get", list[FeatureWord], {"path": path, "property": name}) for name in WORDS]
    )
    for reply in replies:
        if isinstance(reply, QmpError):
            log.warning("%s: QEMU does not tell its CPU's features: %s", guest.name, reply)
            return
    enabled, filtered = map(_cpuid_words, replies)
    request = DescribeLiveCpu(arch=arch, cpu=format_model(cpu), enabled=enabled, filtered=filtered)
    described = await guest.context.node.link("hostd").call(request)
    live = with_model(cpu, parse_cpu(described.cpu))
    if not guest.status.original_cpu and not is_same_model(cpu, live):
        guest.status.original_cpu = format_cpu(cpu)
    domain.cpu = live


def _cpuid_words(reply: object) -> list[CpuidWord]:
    return [
        CpuidWord(
            leaf=word.cpuid_input_eax,
            subleaf=word.cpuid_input_ecx,
            register=word.cpuid_register.lower(),
            bits=word.features,
        )
        for word in (reply if isinstance(reply, list) else ())
        if isinstance(word, FeatureWord)
    ]
