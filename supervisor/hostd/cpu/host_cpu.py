"""The host's CPU as a named model and features. Pure.

Owns: the meaning of /proc/cpuinfo's fields. May not touch: files.
"""

from __future__ import annotations

from collections.abc import Mapping

from conf.emulator import AcceleratorFacts
from supervisor.hostd.capabilities.host import HostCpu
from supervisor.hostd.cpu.feature_names import from_kernel, from_qemu
from supervisor.hostd.cpu.models import Models
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
    contained = []
    if models is not None:
        named = (models.get(name) for name in models.names())
        contained = [m.name for m in named if m is not None and m.features <= features]
    cpu = models.describe(features, vendor, among=contained) if models and contained else None
    return HostCpu(
        arch=arch,
        model=cpu.model if cpu else "",
        vendor=vendor,
        features=tuple(sorted(cpu.require)) if cpu else (),
        microcode=number(fields.get("microcode")),
        family=number(fields.get("cpu family")),
        model_number=number(fields.get("model")),
        stepping=number(fields.get("stepping")),
        address_bits=number(fields.get("address sizes", "").split(" ")[0]),
    )


def accelerator_features(accelerator: AcceleratorFacts) -> frozenset[str]:
    """Return the features that an accelerator provides on this host."""
    return from_qemu(accelerator.host_model)


def number(text: str | None) -> int | None:
    """Parse a decimal or 0x number; None for anything else."""
    try:
        return int(text or "", 0)
    except ValueError:
        return None
