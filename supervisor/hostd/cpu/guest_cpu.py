"""A guest's <cpu> at its start: what it asks for becomes a model and features that QEMU has. Pure.

Owns: the comparison with the host, host-model, match='minimum', optional features, models that QEMU
lacks, and what <cpu> says once QEMU runs.
May not touch: QEMU, files.
Source: libvirt 9.0, qemuProcessUpdateGuestCPU, virCPUUpdateLive; measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from conf.domain.cpu import Cpu, CpuFeature, CpuModelName
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.hostd.cpu.models import Cpu as HostCpu
from supervisor.hostd.cpu.models import Hypervisor, Model, Models

ON: Final = ("require", "force", None)
OFF: Final = ("disable", "forbid")
WHOLE_HOST: Final = ("host-passthrough", "maximum")
#: Features of a processor that QEMU has no property for.
NOT_IN_QEMU: Final = frozenset({"cmt", "mbm_total", "mbm_local", "osxsave", "ospke"})


@dataclass(frozen=True, slots=True)
class HostModels:
    """The host's CPU as one virtualization type offers it."""

    reported: HostCpu  # what domain capabilities say
    full: HostCpu  # with what the processor alone has
    migratable: HostCpu


@dataclass(frozen=True, slots=True)
class Guest:
    """The guest whose <cpu> is resolved."""

    arch: str
    virt_type: str  # "kvm" or "qemu"
    host_arch: str
    is_native: bool  # the host's processor runs its instructions


def resolve(
    cpu: Cpu, guest: Guest, models: Models, host: HostModels | None, hypervisor: Hypervisor
) -> Cpu:
    """Return the <cpu> with which a guest is started.

    Args:
        cpu: of the completed definition.
        guest: whose it is.
        models: of its architecture.
        host: what host-model is; None: that is not known.
        hypervisor: the models that its QEMU has.

    Raises:
        VirError: CONFIG_UNSUPPORTED, CPU_INCOMPATIBLE, INTERNAL_ERROR.
    """
    if not is_chosen(cpu):
        return cpu
    for feature in cpu.features:
        if feature.name not in models.feature_names():
            raise unsupported(f"unknown CPU feature: {feature.name}")
    require_mode(cpu, guest, has_host=host is not None)
    if cpu.mode in WHOLE_HOST:
        return without(cpu, NOT_IN_QEMU)
    if cpu.check == "partial" and host is not None:
        require_host(cpu, models, host.full)
    updated = update(cpu, models, host.migratable if host is not None else None)
    updated = translate(updated, models, hypervisor)
    assert updated.model is not None, "a mode other than the host's own names a model"
    named = replace(updated.model, fallback="forbid")
    return without(replace(updated, model=named), NOT_IN_QEMU)


def is_chosen(cpu: Cpu) -> bool:
    """Return whether a <cpu> says more than a topology."""
    return cpu.mode not in (None, "custom") or bool(cpu.model is not None and cpu.model.name)


def require_mode(cpu: Cpu, guest: Guest, *, has_host: bool) -> None:
    """Refuse a mode that the hypervisor lacks.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    by_processor = guest.virt_type == "kvm" and guest.is_native
    if (cpu.mode == "host-passthrough" and not by_processor) or (
        cpu.mode == "host-model" and not has_host
    ):
        detail = (
            f"CPU mode '{cpu.mode}' for {guest.arch} {guest.virt_type} domain on "
            f"{guest.host_arch} host is not supported by hypervisor"
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)


def require_host(cpu: Cpu, models: Models, host: HostCpu) -> None:
    """Refuse a CPU that the host cannot provide, as check='partial' asks for.

    Raises:
        VirError: CPU_INCOMPATIBLE; INTERNAL_ERROR: its model is unknown.
    """
    if cpu.vendor and cpu.vendor != host.vendor:
        raise incompatible(f"host CPU vendor does not match required CPU vendor {cpu.vendor}")
    there = models.features(host)
    if forbidden := with_policy(cpu, "forbid") & there:
        raise incompatible("Host CPU provides forbidden features: " + listed(models, forbidden))
    left_open = with_policy(cpu, "force", "optional", "disable")
    required = (model_features(cpu, models) | with_policy(cpu, "require", None)) - left_open
    if missing := required - there:
        detail = "Host CPU does not provide required features: "
        raise incompatible(detail + listed(models, missing))
    if cpu.match == "strict" and (extra := there - required - left_open):
        detail = "Host CPU does not strictly match guest CPU: Extra features: "
        raise incompatible(detail + listed(models, extra))


def update(cpu: Cpu, models: Models, host: HostCpu | None) -> Cpu:
    """Name model and features of a <cpu> that leaves them to the host.

    Args:
        cpu: of a definition.
        models: of its architecture.
        host: the host's CPU without what keeps a guest from moving; None: it is not known.

    Raises:
        VirError: CONFIG_UNSUPPORTED: they depend on the host; INTERNAL_ERROR: unknown model.
    """
    if cpu.mode in WHOLE_HOST or not is_chosen(cpu):
        return cpu
    takes_host = cpu.mode == "host-model" or cpu.match == "minimum"
    features = list(cpu.features)
    if takes_host or with_policy(cpu, "optional"):
        if host is None:
            raise unsupported("unknown host CPU model")
        there = models.features(host)
        features = [
            replace(each, policy="require" if each.name in there else "disable")
            if each.policy == "optional"
            else each
            for each in features
        ]
    if takes_host and host is not None:
        own = cpu.model or CpuModelName()
        cpu = replace(
            cpu,
            mode="custom",
            match="exact",
            model=replace(own, name=host.model, fallback=own.fallback or "allow"),
            vendor=cpu.vendor if cpu.mode == "custom" else host.vendor or None,
        )
        features = with_features(described(host), features)
    model = known_model(cpu, models)
    named = {each.name for each in features}
    gone = models.order(name for name in model.removed if name not in named)
    features += [CpuFeature(policy="disable", name=name) for name in gone]
    return replace(cpu, features=features)


def translate(cpu: Cpu, models: Models, hypervisor: Hypervisor) -> Cpu:
    """Describe a CPU by another model, where the hypervisor lacks the one that it names.

    Raises:
        VirError: CONFIG_UNSUPPORTED: no other one is wanted.
    """
    assert cpu.model is not None
    name = cpu.model.name or ""
    if hypervisor.has(name):
        return cpu
    if cpu.model.fallback != "allow":
        raise unsupported(f"CPU model {name} is not supported by hypervisor")
    model = known_model(cpu, models)
    found = models.describe(model.features, model.vendor, hypervisor=hypervisor)
    if found is None:
        raise unsupported(f"CPU model {name} is not supported by hypervisor")
    features = with_features(described(found), cpu.features)
    return replace(cpu, model=replace(cpu.model, name=found.model), features=features)


def update_live(cpu: Cpu, models: Models, enabled: frozenset[str], filtered: frozenset[str]) -> Cpu:
    """Name each feature by which the CPU of a running guest differs from its model.

    Args:
        cpu: with which the guest was started.
        models: of its architecture, with the bits of their features; of those that CPUID does not
            report, it is only known which cannot be there.
        enabled: features that the guest has.
        filtered: features that QEMU wanted and could not provide.

    Raises:
        VirError: OPERATION_FAILED: it has check='full', and the CPU is not as it says.
    """
    expected = (model_features(cpu, models) | with_policy(cpu, *ON)) - with_policy(cpu, *OFF)
    lost = {name for name in expected if models.owners.get(name, name) not in enabled}
    if cpu.mode in WHOLE_HOST:  # what else there is, is the host's
        if cpu.check != "full":
            return cpu
        enabled, filtered = enabled & with_policy(cpu, *OFF), frozenset()
    extra = models.order(enabled - expected)
    missing = models.order(lost | filtered)
    if cpu.check == "full":
        if extra or missing:
            parts = [
                f"{kind} features: {','.join(names)}"
                for kind, names in (("extra", extra), ("missing", missing))
                if names
            ]
            detail = f"guest CPU doesn't match specification: {', '.join(parts)}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.CPU)
        return cpu
    changes = [
        CpuFeature(policy="disable" if name in missing else "require", name=name)
        for name in models.order({*extra, *missing})
    ]
    return replace(cpu, check="full", features=with_features(cpu.features, changes))


def without(cpu: Cpu, names: frozenset[str]) -> Cpu:
    """Leave features out of a <cpu>."""
    return replace(cpu, features=[each for each in cpu.features if each.name not in names])


def described(host: HostCpu) -> list[CpuFeature]:
    """Return the features of a described CPU as those of a <cpu>."""
    return [
        *(CpuFeature(policy="require", name=name) for name in host.require),
        *(CpuFeature(policy="disable", name=name) for name in host.disable),
    ]


def with_features(
    features: Iterable[CpuFeature], changes: Iterable[CpuFeature]
) -> list[CpuFeature]:
    """Give features other policies; those that are new stand at the end."""
    merged = {feature.name: feature for feature in features}
    merged.update((change.name, change) for change in changes)
    return list(merged.values())


def with_policy(cpu: Cpu, *policies: str | None) -> frozenset[str]:
    """Return the features that a <cpu> names with one of the policies."""
    return frozenset(each.name for each in cpu.features if each.policy in policies)


def model_features(cpu: Cpu, models: Models) -> frozenset[str]:
    """Return the features of a CPU's model; none where it names none.

    Raises:
        VirError: INTERNAL_ERROR: the model is unknown.
    """
    return known_model(cpu, models).features if cpu.model and cpu.model.name else frozenset()


def known_model(cpu: Cpu, models: Models) -> Model:
    """Return a CPU's model.

    Raises:
        VirError: INTERNAL_ERROR: it is unknown.
    """
    name = (cpu.model.name if cpu.model else None) or ""
    model = models.get(name)
    if model is None:
        raise VirError(ErrorCode.INTERNAL_ERROR, f"Unknown CPU model {name}", ErrorDomain.CPU)
    return model


def listed(models: Models, features: frozenset[str]) -> str:
    """Write features for a message."""
    return ", ".join(models.order(features))


def incompatible(detail: str) -> VirError:
    """CPU_INCOMPATIBLE."""
    return VirError(ErrorCode.CPU_INCOMPATIBLE, detail, ErrorDomain.CPU)


def unsupported(detail: str) -> VirError:
    """CONFIG_UNSUPPORTED, of the CPU driver."""
    return VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.CPU)
