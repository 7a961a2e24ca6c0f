"""<features>: what of the machine and the hypervisor a guest sees.

Source: libvirt 9.0 formatdomain, "Hypervisor features".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.lxc.model import Capabilities
from conf.errors import ConfError
from conf.mapper import attribute, child, element, flag, text
from conf.types.bool import on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import uint, unsigned
from conf.types.size import KIB, Amount, to_bytes

RING_SIZES: Final = (1024, 65536)
MITIGATIONS = one_of("broken", "workaround", "fixed")


@element("spinlocks")
@dataclass(slots=True, kw_only=True)
class Spinlocks:
    """How often a guest tries before it tells the hypervisor."""

    state: bool | None = attribute("@state", read=on_off, write=write_on_off, required=True)
    retries: int | None = attribute("@retries", read=uint)


@element("stimer")
@dataclass(slots=True, kw_only=True)
class Stimer:
    """Synthetic timers."""

    state: bool | None = attribute("@state", read=on_off, write=write_on_off, required=True)
    direct: bool | None = attribute("direct/@state", read=on_off, write=write_on_off)


@element("vendor_id")
@dataclass(slots=True, kw_only=True)
class VendorId:
    """What the hypervisor calls itself."""

    state: bool | None = attribute("@state", read=on_off, write=write_on_off, required=True)
    value: str | None = attribute("@value")


@element("hyperv")
@dataclass(slots=True, kw_only=True)
class Hyperv:
    """<hyperv>: what Windows takes for its own hypervisor."""

    mode: str | None = attribute("@mode", read=one_of("custom", "passthrough"))
    relaxed: bool | None = attribute(
        "relaxed/@state", read=on_off, write=write_on_off, required=True
    )
    vapic: bool | None = attribute("vapic/@state", read=on_off, write=write_on_off, required=True)
    spinlocks: Spinlocks | None = child("spinlocks", Spinlocks)
    vpindex: bool | None = attribute(
        "vpindex/@state", read=on_off, write=write_on_off, required=True
    )
    runtime: bool | None = attribute(
        "runtime/@state", read=on_off, write=write_on_off, required=True
    )
    synic: bool | None = attribute("synic/@state", read=on_off, write=write_on_off, required=True)
    stimer: Stimer | None = child("stimer", Stimer)
    reset: bool | None = attribute("reset/@state", read=on_off, write=write_on_off, required=True)
    vendor_id: VendorId | None = child("vendor_id", VendorId)
    frequencies: bool | None = attribute(
        "frequencies/@state", read=on_off, write=write_on_off, required=True
    )
    reenlightenment: bool | None = attribute(
        "reenlightenment/@state", read=on_off, write=write_on_off, required=True
    )
    tlbflush: bool | None = attribute(
        "tlbflush/@state", read=on_off, write=write_on_off, required=True
    )
    ipi: bool | None = attribute("ipi/@state", read=on_off, write=write_on_off, required=True)
    evmcs: bool | None = attribute("evmcs/@state", read=on_off, write=write_on_off, required=True)
    avic: bool | None = attribute("avic/@state", read=on_off, write=write_on_off, required=True)


@element("dirty-ring")
@dataclass(slots=True, kw_only=True)
class DirtyRing:
    """KVM's ring of pages written."""

    state: bool | None = attribute("@state", read=on_off, write=write_on_off, required=True)
    size: int | None = attribute("@size", read=uint)

    def after_read(self) -> None:
        """Check the size of a ring that is used.

        Raises:
            ConfError: "xml".
        """
        low, high = RING_SIZES
        fits = self.size is not None and low <= self.size <= high and self.size.bit_count() == 1
        if self.state and self.size is not None and not fits:
            detail = f"dirty ring must be power of 2 and ranges [{low}, {high}]"
            raise ConfError("xml", detail, "domain/features/kvm/dirty-ring/@size")


@element("kvm")
@dataclass(slots=True, kw_only=True)
class Kvm:
    """<kvm>."""

    hidden: bool | None = attribute("hidden/@state", read=on_off, write=write_on_off, required=True)
    hint_dedicated: bool | None = attribute(
        "hint-dedicated/@state", read=on_off, write=write_on_off, required=True
    )
    poll_control: bool | None = attribute(
        "poll-control/@state", read=on_off, write=write_on_off, required=True
    )
    pv_ipi: bool | None = attribute("pv-ipi/@state", read=on_off, write=write_on_off, required=True)
    dirty_ring: DirtyRing | None = child("dirty-ring", DirtyRing)


@element("apic")
@dataclass(slots=True, kw_only=True)
class Apic:
    """<apic>."""

    eoi: bool | None = attribute("@eoi", read=on_off, write=write_on_off)


@element("size")
@dataclass(slots=True, kw_only=True)
class Size:
    """An amount in the unit of the XML."""

    unit: str = attribute("@unit", default="MiB")
    amount: int = text(".", read=unsigned, default=0, omit="")

    def after_read(self) -> None:
        """Write the amount in the largest unit of which it is a whole number (virFormatIntPretty).

        Raises:
            ConfError: as `to_bytes`.
        """
        number, self.unit = to_bytes(self.amount, self.unit), "B"
        for unit in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
            if number == 0 or number % KIB:
                break
            number, self.unit = number // KIB, unit
        self.amount = number


@element("smm")
@dataclass(slots=True, kw_only=True)
class Smm:
    """<smm>: system management mode."""

    state: bool | None = attribute("@state", read=on_off, write=write_on_off, present=True)
    tseg: Size | None = child("tseg", Size, empty_is_absent=True)


@element("tcg", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Tcg:
    """<tcg>."""

    tb_cache: Amount | None = child("tb-cache", Amount, empty_is_absent=True)


@element("features", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Features:
    """<features>."""

    acpi: bool = flag("acpi")
    apic: Apic | None = child("apic", Apic, merge=True)
    pae: bool = flag("pae")
    hap: bool | None = attribute("hap/@state", read=on_off, write=write_on_off, present=True)
    viridian: bool = flag("viridian")
    privnet: bool = flag("privnet")
    hyperv: Hyperv | None = child("hyperv", Hyperv, merge=True)
    kvm: Kvm | None = child("kvm", Kvm, merge=True)
    pvspinlock: bool | None = attribute(
        "pvspinlock/@state", read=on_off, write=write_on_off, present=True
    )
    capabilities: Capabilities | None = child("capabilities", Capabilities)
    pmu: bool | None = attribute("pmu/@state", read=on_off, write=write_on_off, present=True)
    vmport: bool | None = attribute("vmport/@state", read=on_off, write=write_on_off, present=True)
    gic: str | None = attribute("gic/@version", read=one_of("2", "3", "host"), present="", omit="")
    smm: Smm | None = child("smm", Smm, merge=True)
    ioapic: str | None = attribute("ioapic/@driver", read=one_of("kvm", "qemu"))
    hpt_resizing: str | None = attribute(
        "hpt/@resizing", read=one_of("enabled", "disabled", "required")
    )
    vmcoreinfo: bool | None = attribute(
        "vmcoreinfo/@state", read=on_off, write=write_on_off, present=True
    )
    htm: bool | None = attribute("htm/@state", read=on_off, write=write_on_off, required=True)
    nested_hv: bool | None = attribute(
        "nested-hv/@state", read=on_off, write=write_on_off, required=True
    )
    msrs_unknown: str | None = attribute("msrs/@unknown", read=one_of("ignore", "fault"))
    ccf_assist: bool | None = attribute(
        "ccf-assist/@state", read=on_off, write=write_on_off, required=True
    )
    cfpc: str | None = attribute("cfpc/@value", read=MITIGATIONS)
    sbbc: str | None = attribute("sbbc/@value", read=MITIGATIONS)
    ibs: str | None = attribute(
        "ibs/@value", read=one_of("broken", "workaround", "fixed-ibs", "fixed-ccd", "fixed-na")
    )
    tcg: Tcg | None = child("tcg", Tcg, merge=True)
    async_teardown: bool | None = attribute("async-teardown/@enabled", read=yes_no)
