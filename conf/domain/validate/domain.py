"""What libvirt 9.0 refuses of a completed domain, for QEMU.

Owns: the order of the checks, and those of the guest as a whole; contradictions within the XML
are `conf.domain.validate.parsed_domain`', those of parts of the guest in this folder's others.
May touch: nothing; a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.architectures import X86, check_architecture
from conf.domain.model import Domain
from conf.domain.validate.chardevs import (
    check_consoles,
    check_serials,
    check_smartcards,
    check_unix_sockets,
)
from conf.domain.validate.clock import check_timers
from conf.domain.validate.controllers import (
    check_bridge_names,
    check_bridge_options,
    check_ide,
    check_iothreads,
    check_scsi,
    check_usb,
)
from conf.domain.validate.devices import (
    check_address_types,
    check_aliases,
    check_graphics,
    check_inputs,
    check_interfaces,
    check_iommu,
    check_panics,
    check_single_devices,
    check_sounds,
    check_videos,
)
from conf.domain.validate.disks import check_disks
from conf.domain.validate.filesystems import check_filesystems
from conf.domain.validate.firmware import check_firmware
from conf.domain.validate.guest import check_guest
from conf.domain.validate.hostdevs import check_hostdevs
from conf.domain.validate.lifecycle import check_lifecycle_actions
from conf.domain.validate.memories import check_memories
from conf.domain.validate.resources import (
    check_cpu,
    check_cputune,
    check_memory,
    check_threads,
    check_vcpus,
)
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from conf.types.repeats import first_repeated

UNSUPPORTED: Final = "config_unsupported"
ARM: Final = ("aarch64", "armv6l", "armv7l")
#: Features of other machines: the field of the model, and the element's name.
PSERIES_FEATURES: Final = {
    "hpt_resizing": "hpt", "htm": "htm", "nested_hv": "nested-hv", "ccf_assist": "ccf-assist",
    "cfpc": "cfpc", "sbbc": "sbbc", "ibs": "ibs",
}  # fmt: skip
HYPERV_VENDOR_LENGTH: Final = 12
SPINLOCK_RETRIES: Final = 4095  # the least


def check_completed(domain: Domain, facts: EmulatorFacts, *, spice_tls: bool = False) -> None:
    """Refuse what cannot be.

    Args:
        domain: is read.
        facts: of its emulator.
        spice_tls: whether qemu.conf switches TLS on for SPICE.

    Raises:
        ConfError: the kind is the code that libvirt answers with.
    """
    _check_emulator(domain, facts)
    _check_boot(domain)
    check_firmware(domain)
    check_lifecycle_actions(domain)
    if domain.memtune is not None and domain.memtune.min_guarantee is not None:
        detail = "Parameter 'min_guarantee' not supported by QEMU."
        raise ConfError(UNSUPPORTED, detail, "domain/memtune/min_guarantee")
    check_cputune(domain)
    check_vcpus(domain, facts)
    check_cpu(domain)
    check_memory(domain)
    check_threads(domain)
    _check_features(domain)
    check_timers(domain)
    _check_security(domain, facts)
    _check_devices(domain, facts)
    check_graphics(domain, spice_tls=spice_tls)
    check_guest(domain)


def _check_devices(domain: Domain, facts: EmulatorFacts) -> None:
    check_address_types(domain)
    check_ide(domain)
    check_usb(domain)
    check_bridge_names(domain)
    check_bridge_options(domain)
    check_scsi(domain)
    check_iothreads(domain)
    check_disks(domain)
    check_filesystems(domain)
    check_videos(domain)
    check_hostdevs(domain, facts)
    check_interfaces(domain)
    check_serials(domain)
    check_consoles(domain)
    check_unix_sockets(domain)
    check_smartcards(domain)
    check_memories(domain, facts)
    check_iommu(domain)
    check_sounds(domain)
    check_inputs(domain)
    check_single_devices(domain)
    check_panics(domain)
    check_aliases(domain)


def _check_emulator(domain: Domain, facts: EmulatorFacts) -> None:
    kind = domain.os.type
    emulator = f"Emulator '{facts.binary}' does not support"
    if domain.type not in ("qemu", "kvm") or (domain.type == "kvm" and not facts.kvm_usable):
        raise ConfError(UNSUPPORTED, f"{emulator} virt type '{domain.type}'", "domain/@type")
    check_architecture(kind.arch or facts.arch, facts)
    if kind.name != "hvm":
        raise ConfError(UNSUPPORTED, f"{emulator} os type '{kind.name}'", "domain/os/type")
    if kind.machine is None or facts.machine(kind.machine) is None:
        detail = f"{emulator} machine type '{kind.machine}'"
        raise ConfError(UNSUPPORTED, detail, "domain/os/type/@machine")


def _check_boot(domain: Domain) -> None:
    orders = domain.boot_orders()
    if orders and domain.os.boot_devices:
        detail = "per-device boot elements cannot be used together with os/boot elements"
        raise ConfError(UNSUPPORTED, detail, "domain/os/boot")
    order = first_repeated(orders)
    if order is not None:
        detail = f"boot order '{order}' used for more than one device"
        raise ConfError(UNSUPPORTED, detail)


def _check_features(domain: Domain) -> None:
    features, kind = domain.features, domain.os.type
    if features is None:
        return
    for field, name in PSERIES_FEATURES.items():
        if getattr(features, field) is not None:
            _check_feature_machine(domain, name, fits="pseries")
    if features.gic is not None and kind.arch not in ARM:
        _check_feature_machine(domain, "gic", fits="virt")
    if features.tcg is not None and domain.type != "qemu":
        detail = f"TCG features are incompatible with domain type '{domain.type}'"
        raise ConfError(UNSUPPORTED, detail, "domain/features/tcg")
    _check_hyperv(domain)


def check_tseg(domain: Domain) -> None:
    """Check the machine of a guest with SMM memory; libvirt does it before it places devices.

    Raises:
        ConfError: "config_unsupported".
    """
    smm = domain.features.smm if domain.features else None
    if smm is None or smm.tseg is None:
        return
    if not (domain.os.type.machine or "").startswith("pc-q35-"):
        raise ConfError(UNSUPPORTED, "SMM TSEG is only supported with q35 machine type")
    if not smm.state:
        raise ConfError(UNSUPPORTED, "SMM TSEG needs <smm state='on'>")


def _check_feature_machine(domain: Domain, name: str, *, fits: str) -> None:
    kind = domain.os.type
    if not (kind.machine or "").startswith(fits):
        detail = (
            f"The '{name}' feature is not supported for architecture '{kind.arch}' "
            f"or machine type '{kind.machine}'"
        )
        raise ConfError(UNSUPPORTED, detail, f"domain/features/{name}")


def _check_hyperv(domain: Domain) -> None:
    features = domain.features
    hyperv = features.hyperv if features else None
    if hyperv is None:
        return
    path = "domain/features/hyperv"
    if domain.os.type.arch not in (*X86, "aarch64"):
        detail = f"Hyperv features are not supported for architecture '{domain.os.type.arch}'"
        raise ConfError(UNSUPPORTED, detail, path)
    spinlocks = hyperv.spinlocks
    if spinlocks is not None and spinlocks.state:
        if spinlocks.retries is None:
            raise ConfError("xml", "missing HyperV spinlock retry count", f"{path}/spinlocks")
        if spinlocks.retries < SPINLOCK_RETRIES:
            detail = f"HyperV spinlock retry count must be at least {SPINLOCK_RETRIES}"
            raise ConfError("xml", detail, f"{path}/spinlocks")
    vendor = hyperv.vendor_id
    if vendor is not None and vendor.state:
        if not vendor.value:
            raise ConfError("xml", "missing 'value' of HyperV vendor_id", f"{path}/vendor_id")
        if len(vendor.value) > HYPERV_VENDOR_LENGTH or "," in vendor.value:
            detail = (
                f"HyperV vendor_id value has up to {HYPERV_VENDOR_LENGTH} characters and no comma"
            )
            raise ConfError("xml", detail, f"{path}/vendor_id")


def _check_security(domain: Domain, facts: EmulatorFacts) -> None:
    security = domain.launch_security
    if security is not None and security.type == "sev" and facts.sev is None:
        detail = "SEV launch security is not supported with this QEMU binary"
        raise ConfError(UNSUPPORTED, detail, "domain/launchSecurity")
    if security is not None and security.type == "s390-pv":
        detail = "S390 PV launch security is not supported with this QEMU binary"
        raise ConfError(UNSUPPORTED, detail, "domain/launchSecurity")
    tune = domain.cputune
    if tune is not None and domain.type != "kvm" and (tune.cachetunes or tune.memorytunes):
        detail = "cachetune is only supported for KVM domains"  # of both
        raise ConfError(UNSUPPORTED, detail, "domain/cputune")
