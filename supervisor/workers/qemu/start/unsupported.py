"""Elements of the domain XML that are parsed but not implemented; they refuse the start.

Owns: the table of those elements, one rule each: what it is, when it counts, what to do instead.
May touch: values only. An element is never dropped silently: a guest without the limit, the label
or the element would seem to have an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from conf.domain import Domain
from conf.domain.devices.address import CcidAddress
from conf.domain.devices.chardev import CharDevice, CharEnd
from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.graphics import Graphics
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.source import Source
from conf.errors import ConfError

T = TypeVar("T")

REMOVE: Final = "remove it to start the domain"
CONTAINERS: Final = "it is for containers (lxc:///); remove it to start the domain"


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One element that is not implemented."""

    element: str | Callable[[T], str]  # as it is written in the XML
    is_present: Callable[[T], object]
    remedy: str = REMOVE


@dataclass(frozen=True, slots=True)
class UnsupportedElement:
    """An element of one domain that is not implemented."""

    element: str
    remedy: str


def check_supported(
    domain: Domain, running: Domain | None = None, *, locks_leases: bool = False
) -> None:
    """Refuse a domain with an element that is not implemented.

    Args:
        domain: to be started, or to get a device.
        running: what runs already, maybe started by libvirt's own daemon: what it has, it keeps.
        locks_leases: there is a lock manager.

    Raises:
        ConfError: "config_unsupported", naming the first such element.
    """
    has = frozenset(unsupported_elements(running)) if running is not None else frozenset()
    for unsupported in unsupported_elements(domain, locks_leases=locks_leases):
        if unsupported in has:
            continue
        detail = f"{unsupported.element} is not supported: {unsupported.remedy}"
        raise ConfError("config_unsupported", detail)


def unsupported_elements(
    domain: Domain, *, locks_leases: bool = False
) -> Iterator[UnsupportedElement]:
    """List what the domain's XML asks for and neither QEMU's command line nor the worker does."""
    devices = domain.devices
    yield from _apply(DOMAIN, [domain])
    if not locks_leases:
        yield from _apply((LEASES,), [domain])
    for disk in devices.disks:
        suffix = f" of disk '{disk.target.dev}'"
        yield from _apply(DISK, [disk], suffix)
        yield from _apply(SOURCE, (source for source, _, _ in disk.chain()), suffix)
    for interface in devices.interfaces:
        yield from _apply(INTERFACE, [interface], f" of interface '{interface.mac}'")
    for filesystem in devices.filesystems:
        yield from _apply(FILESYSTEM, [filesystem], f" of filesystem '{filesystem.target_dir}'")
    for hostdev in devices.hostdevs:
        yield from _apply(HOSTDEV, [hostdev], f" of hostdev '{hostdev.alias or hostdev.type}'")
    for memory in devices.memories:
        suffix = f" of the memory device '{memory.alias or memory.model}'"
        yield from _apply(MEMORY, [memory], suffix)
    for device in _char_devices(domain):
        yield from _apply(CHAR_END, device.ends, f" of a character device of type '{device.type}'")
    yield from _apply(GRAPHICS, devices.graphics, " of <graphics>")


def _apply(
    rules: Iterable[Check[T]], items: Iterable[T], suffix: str = ""
) -> Iterator[UnsupportedElement]:
    for item in items:
        for rule in rules:
            if rule.is_present(item):
                element = rule.element if isinstance(rule.element, str) else rule.element(item)
                yield UnsupportedElement(f"{element}{suffix}", rule.remedy)


def _char_devices(domain: Domain) -> Iterator[CharDevice]:
    devices = domain.devices
    yield from (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels)


def _is_x86(domain: Domain) -> bool:
    """Return whether hostd knows the models of the guest's architecture."""
    return bool(domain.os.type) and domain.os.type.arch in ("x86_64", "i686")


def _keeps_other_vcpus(domain: Domain) -> bool:
    """Return whether others than the first vcpus have to stay: QEMU's -smp starts with those."""
    kept = {state.id for state in domain.vcpus if state.enabled and not state.hotpluggable}
    return bool(domain.vcpus) and kept != set(range(len(kept)))


def _foreign_seclabel(domain: Domain) -> str | None:
    """Return the model of a label that this host's security drivers cannot set."""
    models = (
        label.model
        for label in domain.seclabels
        if label.model not in (None, "none", "dac") and label.type != "none"
    )
    return next(models, None)


def _smartcard_slot(domain: Domain) -> int | None:
    """Return the slot of a smartcard that is not the only one of its reader."""
    slots = (
        smartcard.address.slot
        for smartcard in domain.devices.smartcards
        if isinstance(smartcard.address, CcidAddress) and smartcard.address.slot
    )
    return next(slots, None)


def _features(*names: str) -> tuple[Check[Domain], ...]:
    """Check hypervisor features of other architectures, and those without a QEMU option."""

    def rule(name: str) -> Check[Domain]:
        field = name.replace("-", "_")
        return Check(
            f"<{name}> in <features>",
            lambda domain: domain.features and getattr(domain.features, field) is not None,
        )

    return tuple(rule(name) for name in names)


LEASES: Final[Check[Domain]] = Check(
    lambda domain: f"<lease> '{domain.devices.leases[0].key}'",
    lambda domain: domain.devices.leases,
    'it needs lock_manager = "lockd" in qemu.conf',
)
DOMAIN: Final[tuple[Check[Domain], ...]] = (
    Check(
        lambda domain: f"<seclabel model='{_foreign_seclabel(domain)}'>",
        _foreign_seclabel,
        "only model 'dac' is; remove it or say type='none'",
    ),
    Check(
        "<hwuuid>",
        lambda domain: domain.hwuuid is not None and domain.hwuuid != domain.uuid,
    ),
    Check(
        "<bootloader>",
        lambda domain: domain.bootloader is not None or domain.bootloader_args is not None,
        "it is for Xen; remove it to start the domain",
    ),
    Check(
        "<init> in <os>",
        lambda domain: (
            domain.os.init is not None or domain.os.init_args or domain.os.init_dir is not None
        ),
        CONTAINERS,
    ),
    Check("<root> in <os>", lambda domain: domain.os.root is not None),
    Check(
        "<inituser> or <initgroup> in <os>",
        lambda domain: domain.os.init_user is not None or domain.os.init_group is not None,
        CONTAINERS,
    ),
    Check("<initenv> in <os>", lambda domain: domain.os.init_variables, CONTAINERS),
    Check(
        lambda domain: f"<nvram type='{domain.os.nvram.type if domain.os.nvram else ''}'>",
        lambda domain: domain.os.nvram and domain.os.nvram.type not in (None, "file"),
        "keep the variables in a file",
    ),
    Check("<smbios mode='host'/>", lambda domain: domain.os.smbios_mode == "host"),
    Check("<idmap>", lambda domain: domain.idmap is not None, CONTAINERS),
    Check(
        "<capabilities> in <features>",
        lambda domain: domain.features and domain.features.capabilities is not None,
        CONTAINERS,
    ),
    Check("<lxc:namespace>", lambda domain: domain.lxc_namespace is not None, CONTAINERS),
    Check(
        "hotpluggable='no' of a vcpu that is not one of the first",
        _keeps_other_vcpus,
        "say hotpluggable='yes'",
    ),
    Check(
        lambda domain: f"match='{domain.cpu.match if domain.cpu else ''}' of <cpu>",
        lambda domain: (
            domain.cpu and domain.cpu.match in ("minimum", "strict") and not _is_x86(domain)
        ),
        "say match='exact'",
    ),
    Check(
        "check='full' of <cpu>",
        lambda domain: (
            domain.cpu
            and domain.cpu.check == "full"
            and domain.cpu.mode == "custom"
            and not _is_x86(domain)
        ),
        "say check='partial' or 'none'",
    ),
    Check(
        "a <cache> in <cpu> whose level is not 3",
        lambda domain: domain.cpu and domain.cpu.cache and domain.cpu.cache.level not in (None, 3),
    ),
    Check(
        "discard='yes' of a NUMA <cell>",
        lambda domain: (
            domain.cpu and domain.cpu.numa and any(cell.discard for cell in domain.cpu.numa.cells)
        ),
    ),
    Check("<launchSecurity>", lambda domain: domain.launch_security is not None),
    Check("<keywrap>", lambda domain: domain.keywrap is not None, "it is for s390; remove it"),
    Check(
        "<fibrechannel appid=>",
        lambda domain: domain.resource and domain.resource.fibre_channel_app is not None,
    ),
    *_features("gic", "htm", "nested-hv", "ccf-assist", "cfpc", "sbbc", "ibs", "async-teardown"),
    Check(
        "<hpt> in <features>",
        lambda domain: domain.features and domain.features.hpt_resizing is not None,
    ),
    Check("<nvram> in <devices>", lambda domain: domain.devices.nvram is not None),
    Check(
        "<controller type='xenbus'>",
        lambda domain: any(item.type == "xenbus" for item in domain.devices.controllers),
    ),
    Check(
        lambda domain: f"slot {_smartcard_slot(domain)} of a smartcard",
        _smartcard_slot,
        "QEMU's card reader has slot 0 alone; give the smartcard its own controller",
    ),
    Check(
        "<driver> of <sound>",
        lambda domain: any(sound.driver is not None for sound in domain.devices.sounds),
    ),
)
DISK: Final[tuple[Check[Disk], ...]] = (
    Check("rawio='yes'", lambda disk: disk.rawio == "yes"),
    Check("sgio='unfiltered'", lambda disk: disk.sgio == "unfiltered"),
    Check("<transient/>", lambda disk: disk.transient),
    Check("<backenddomain>", lambda disk: disk.backend_domain is not None),
    Check("discard_no_unref='on'", lambda disk: disk.driver and disk.driver.discard_no_unref),
    Check(
        lambda disk: f"<iotune> on bus '{disk.target.bus}'",
        lambda disk: disk.iotune is not None and disk.target.bus in ("sd", "fdc"),
        # block_set_io_throttle wants a qdev id, which -drive if=sd and -global isa-fdc do not have
        "use another bus",
    ),
)
SOURCE: Final[tuple[Check[Source], ...]] = (
    Check(
        "managed='yes' of an NVMe source",
        lambda source: source.type == "nvme" and source.managed is not False,
        "bind the device to vfio-pci and say managed='no'",
    ),
    Check("<seclabel>", lambda source: any(item.relabel is not False for item in source.labels)),
    Check(
        "<identity>",
        lambda source: source.identity_user is not None or source.identity_group is not None,
    ),
)
INTERFACE: Final[tuple[Check[Interface], ...]] = (
    Check(
        "type='hostdev'",
        lambda interface: interface.type == "hostdev",
        "use <hostdev> with a device that is bound to vfio-pci",
    ),
    Check("<route>", lambda interface: interface.routes),
    Check("<ip peer=>", lambda interface: any(item.peer is not None for item in interface.ips)),
    Check("<guest dev=>", lambda interface: interface.guest_dev is not None, CONTAINERS),
    Check("<teaming>", lambda interface: interface.teaming is not None),
    Check(
        "<ip>",
        lambda interface: interface.ips and interface.type != "user",
        "only type='user' has it; set the address in the guest",
    ),
)
FILESYSTEM: Final[tuple[Check[Filesystem], ...]] = (
    Check(
        "<binary>",
        lambda item: (
            item.binary is not None
            and not (item.driver_type == "virtiofs" and item.source_socket is None)
        ),
    ),
    Check(
        "<space_hard_limit> or <space_soft_limit>",
        lambda item: item.space_hard_limit is not None or item.space_soft_limit is not None,
    ),
    Check("usage=", lambda item: item.usage is not None, CONTAINERS),
    Check(
        "format= of <driver>",
        lambda item: item.driver and item.driver.format is not None,
    ),
)
HOSTDEV: Final[tuple[Check[Hostdev], ...]] = (
    Check("<ip> or <route>", lambda hostdev: hostdev.ips or hostdev.routes),
    Check("rawio= or sgio=", lambda hostdev: hostdev.rawio or hostdev.sgio == "unfiltered"),
    Check(
        lambda hostdev: f"<driver name='{hostdev.driver}'>",
        lambda hostdev: hostdev.driver not in (None, "vfio"),
        "use vfio",
    ),
    Check("<teaming>", lambda hostdev: hostdev.teaming is not None),
    Check("writeFiltering=", lambda hostdev: hostdev.source.write_filtering is not None),
)
MEMORY: Final[tuple[Check[MemoryDevice], ...]] = (
    Check("<uuid>", lambda memory: memory.uuid is not None),
)
CHAR_END: Final[tuple[Check[CharEnd], ...]] = (
    Check("tls='yes'", lambda end: end.tls),
    Check("<seclabel>", lambda end: end.labels),
)
GRAPHICS: Final[tuple[Check[Graphics], ...]] = (
    Check("fullscreen='yes'", lambda graphics: graphics.fullscreen),
    Check(
        "<listen type='network'>",
        lambda graphics: any(item.type == "network" for item in graphics.listens),
        "give the address itself in <listen type='address'>",
    ),
)
