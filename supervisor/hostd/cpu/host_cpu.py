"""The host's CPU as a named model and features. Pure.

Owns: the meaning of /proc/cpuinfo's fields. May not touch: files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from conf.emulator import AcceleratorFacts, Property
from supervisor.hostd.capabilities.host import HostCpu
from supervisor.hostd.cpu.feature_names import FROM_QEMU, from_kernel, from_qemu
from supervisor.hostd.cpu.guest_cpu import NOT_IN_QEMU, HostModels
from supervisor.hostd.cpu.models import Cpu, Hypervisor, Models, Signature
from supervisor.hostd.emulator.model_probe import VENDORS


def host_features(fields: Mapping[str, str]) -> frozenset[str]:
    """Return the CPU's features in libvirt's names."""
    return from_kernel(fields.get("flags", "").split())


def host_vendor(fields: Mapping[str, str]) -> str:
    """Return the vendor in libvirt's name; "" for an unknown one."""
    return VENDORS.get(fields.get("vendor_id", ""), "")


def describe_host(arch: str, fields: Mapping[str, str], models: Models | None) -> HostCpu:
    """Describe the CPU by the nearest model whose features it all has.

    Args:
        arch: the host's architecture.
        fields: /proc/cpuinfo of one CPU.
        models: of the architecture; None without an emulator for it.
    """
    vendor = host_vendor(fields)
    features = host_features(fields)
    known = features & models.feature_names() if models is not None else frozenset()
    signature = signature_of(fields)
    cpu = models.describe(known, vendor, of_host=True, signature=signature) if models else None
    return HostCpu(
        arch=arch,
        model=cpu.model if cpu else "",
        vendor=vendor,
        features=cpu.require if cpu else (),
        microcode=number(fields.get("microcode")),
        family=number(fields.get("cpu family")),
        model_number=number(fields.get("model")),
        stepping=number(fields.get("stepping")),
        address_bits=number(fields.get("address sizes", "").split(" ")[0]),
    )


def signature_of(fields: Mapping[str, str]) -> Signature | None:
    """Return the processor's signature; None where /proc/cpuinfo has none."""
    family, model = number(fields.get("cpu family")), number(fields.get("model"))
    stepping = number(fields.get("stepping"))
    if family is None or model is None:
        return None
    return Signature(family, model, frozenset() if stepping is None else frozenset({stepping}))


def accelerator_features(accelerator: AcceleratorFacts) -> frozenset[str]:
    """Return the features that an accelerator provides on this host."""
    return from_qemu(accelerator.host_model)


def hypervisor_models(accelerator: AcceleratorFacts) -> Hypervisor:
    """Return the models of an accelerator, and what each lacks."""
    return Hypervisor(
        {
            model.name: frozenset(FROM_QEMU.get(name, name) for name in model.blockers)
            for model in accelerator.cpu_models
        }
    )


def describe_accelerator(
    properties: Mapping[str, Property], models: Models, hypervisor: Hypervisor
) -> Cpu | None:
    """Describe an expanded QEMU CPU; None: no model is like it."""
    numbers = [properties.get(name) for name in ("family", "model", "stepping")]
    signature = None
    if all(isinstance(each, int) for each in numbers[:2]):
        family, model, stepping = (each if isinstance(each, int) else 0 for each in numbers)
        signature = Signature(family, model, frozenset({stepping}))
    return models.describe(
        from_qemu(properties) & models.feature_names(),
        VENDORS.get(str(properties.get("vendor", "")), ""),
        signature=signature,
        hypervisor=hypervisor,
    )


def host_models(
    accelerator: AcceleratorFacts, models: Models, on_processor: frozenset[str]
) -> HostModels | None:
    """Return what host-model is with an accelerator; None: no model is like it.

    Args:
        accelerator: KVM or TCG.
        models: of the emulator's architecture.
        on_processor: features of the host's processor, where it runs the guest.
    """
    hypervisor = hypervisor_models(accelerator)
    properties = accelerator.unmigratable_model or accelerator.host_model
    reported = describe_accelerator(properties, models, hypervisor)
    if reported is None:
        return None
    # QEMU has no property for them, but a guest may ask for them, and be refused elsewhere.
    alone = models.order(on_processor & NOT_IN_QEMU - frozenset(reported.require))
    portable = describe_accelerator(accelerator.host_model, models, hypervisor)
    fixed = tuple(name for name in reported.require if name not in models.not_migratable)
    return HostModels(
        reported=reported,
        full=replace(reported, require=(*reported.require, *alone)),
        migratable=portable
        if accelerator.unmigratable_model and portable is not None
        else replace(reported, require=fixed),
    )


def number(text: str | None) -> int | None:
    """Parse a decimal or 0x number; None for anything else."""
    try:
        return int(text or "", 0)
    except ValueError:
        return None
