"""CPU feature names: maps the kernel's and QEMU's to libvirt's. Pure.

Owns: these tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from conf.emulator import QEMU_FEATURE_NAMES, Property

#: /proc/cpuinfo flag to libvirt's name, where they differ.
FROM_KERNEL: Final = {
    "pclmulqdq": "pclmuldq",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "tsc_deadline_timer": "tsc-deadline",
    "cr8_legacy": "cr8legacy",
    "nrip_save": "nrip-save",
    "svm_lock": "svm-lock",
    "tsc_scale": "tsc-scale",
    "vmcb_clean": "vmcb-clean",
    "pausefilter": "pause-filter",
    "cqm": "cmt",
    "cqm_mbm_total": "mbm_total",
    "cqm_mbm_local": "mbm_local",
    "sha_ni": "sha-ni",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512-vpopcntdq",
    "avx512_bf16": "avx512-bf16",
    "avx512_4vnniw": "avx512-4vnniw",
    "avx512_4fmaps": "avx512-4fmaps",
    "avx512_fp16": "avx512-fp16",
    "avx512_vp2intersect": "avx512-vp2intersect",
    "avx_vnni": "avx-vnni",
    "arch_capabilities": "arch-capabilities",
    "md_clear": "md-clear",
    "amx_bf16": "amx-bf16",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
    "split_lock_detect": "split-lock-detect",
    "bus_lock_detect": "bus-lock-detect",
    "nonstop_tsc": "invtsc",
    "intel_pt": "intel-pt",
    "amd_ssbd": "amd-ssbd",
    "virt_ssbd": "virt-ssbd",
    "flush_l1d": "flush-l1d",
    "core_capabilities": "core-capability",
    "spec_ctrl": "spec-ctrl",
}
#: Flags that Linux synthesizes: no CPUID bit, or one that guests cannot have.
NOT_FEATURES: Final = frozenset(
    {
        "constant_tsc", "rep_good", "nopl", "xtopology", "cpuid", "extd_apicid",
        "tsc_known_freq", "vmmcall", "tsc_reliable", "aperfmperf", "arch_perfmon", "bts",
        "pebs", "dtherm", "ida", "pln", "pts", "hwp", "hwp_act_window", "hwp_epp",
        "hwp_notify", "cpuid_fault", "epb", "pti", "tpr_shadow", "vnmi", "flexpriority",
        "ept", "vpid", "ept_ad", "retpoline", "ssbd", "ibrs", "ibpb", "stibp",
        "ibrs_enhanced", "cqm_llc", "cqm_occup_llc",
        "rdt_a", "cat_l3", "cdp_l3", "mba", "hw_pstate", "cpb",
        "proc_feedback", "sme", "sev", "sev_es", "lbrv", "rapl", "acc_power", "user_shstk",
        "debug_swap",
    }
)  # fmt: skip
#: QEMU's CPU property to libvirt's name, where they differ; some features have several.
FROM_QEMU: Final = {
    **{name: ours for ours, name in QEMU_FEATURE_NAMES.items()},
    "sse3": "pni",
    "i64": "lm",
    "xd": "nx",
    "ffxsr": "fxsr_opt",
    "svm_lock": "svm-lock",
    "nrip_save": "nrip-save",
    "tsc_scale": "tsc-scale",
    "vmcb_clean": "vmcb-clean",
    "pause_filter": "pause-filter",
    "sse4-1": "sse4.1",
    "sse4_1": "sse4.1",
    "sse4-2": "sse4.2",
    "sse4_2": "sse4.2",
}
#: Properties of a CPU object that are no CPUID features.
QEMU_SETTINGS: Final = frozenset(
    {
        "kvm", "start-powered-off", "realized", "hotpluggable", "hotplugged", "check",
        "enforce", "migratable", "pmu", "lmce", "l3-cache", "full-cpuid-auto-level",
        "legacy-cache", "fill-mtrr-mask", "host-phys-bits", "tcg-cpuid", "cpuid-0xb",
        "host-cache-info", "vmware-cpuid-freq", "xen-vapic", "memory", "crash-information",
        "unavailable-features",
    }
)  # fmt: skip


def from_kernel(flags: Iterable[str]) -> frozenset[str]:
    """Map /proc/cpuinfo flags to libvirt's feature names."""
    return frozenset(FROM_KERNEL.get(flag, flag) for flag in flags if flag not in NOT_FEATURES)


def from_qemu(properties: Mapping[str, Property]) -> frozenset[str]:
    """Map the enabled features of a QEMU CPU object to libvirt's names."""
    return qemu_feature_names({name: value for name, value in properties.items() if value is True})


def qemu_feature_names(properties: Mapping[str, Property]) -> frozenset[str]:
    """Map every feature of a QEMU CPU object, enabled or not, to libvirt's names."""
    return frozenset(
        FROM_QEMU.get(name, name)
        for name, value in properties.items()
        if isinstance(value, bool)
        and name not in QEMU_SETTINGS
        and not name.startswith(("hv-", "kvm", "x-"))
    )
