"""The host's devices that a QEMU may open: those that its XML names, and what every QEMU needs.

Owns: that list. May touch: /sys, to find a PCI device's IOMMU group; the guest's group.
Source: libvirt 9.0, qemuSetupDevicesCgroup, defaultDeviceACL.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final

from conf.domain import Domain
from conf.domain.device_xml import Device
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.input import Input
from conf.domain.devices.memory import MemoryDevice
from conf.domain.devices.rng import Rng
from conf.domain.devices.tpm import Tpm
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.device_filter import DeviceRule
from supervisor.workers.cgroups.devices import CONTROLLER, device_rules, restrict_devices
from supervisor.workers.qemu.cgroup.guest_cgroup import GuestCgroup
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.passthrough import vfio_nodes
from supervisor.workers.qemu.start.files import domain_files

#: What every QEMU may open, unless qemu.conf's cgroup_device_acl says otherwise.
DEFAULT_ACL: Final = (
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/ptmx",
    "/dev/kvm",
    "/dev/userfaultfd",
)
TERMINALS: Final = DeviceRule("c", 136)  # /dev/pts
SOUND: Final = (DeviceRule("c", 116), DeviceRule("c", 14))  # ALSA, OSS
RENDER: Final = DeviceRule("c", 226)  # /dev/dri
HARDWARE_SOUND: Final = ("alsa", "oss", "sdl", "jack", "pulseaudio")
SGX: Final = ("/dev/sgx_vepc", "/dev/sgx_provision")

log = logging.getLogger(__name__)


def allowed_devices(domain: Domain, config: QemuConfig) -> frozenset[DeviceRule]:
    """List what a guest's QEMU may open."""
    paths = config.cgroup_device_acl or DEFAULT_ACL
    rules = {TERMINALS, *device_rules([*paths, *device_paths(domain)])}
    if has_hardware_sound(domain):
        rules.update(SOUND)
    if renders(domain):
        rules.add(RENDER)
    return frozenset(rules)


def has_hardware_sound(domain: Domain) -> bool:
    """Return whether QEMU plays and records by the host's hardware."""
    return any(audio.type in HARDWARE_SOUND for audio in domain.devices.audios)


def renders(domain: Domain) -> bool:
    """Return whether QEMU draws by the host's hardware."""
    graphics = domain.devices.graphics
    return any(display.gl or display.type == "egl-headless" for display in graphics)


def device_paths(domain: Domain) -> Iterator[str]:
    """List the paths that a domain's devices have on the host; some are no devices."""
    devices = domain.devices
    yield from (file.path for file in domain_files(domain))
    named: list[Device] = [*devices.hostdevs, *devices.rngs, *devices.tpms, *devices.inputs]
    named += devices.memories
    for device in named:
        yield from opened_paths(device)


def opened_paths(device: Device) -> Iterator[str]:
    """List what QEMU opens for a device besides the files that are given to its user."""
    match device:
        case Hostdev():
            yield from hostdev_paths(device)
        case Rng():
            yield device.backend.path or ""
        case Tpm() if device.backend.type == "passthrough":
            yield device.backend.path or "/dev/tpm0"
        case Input():
            yield device.source_evdev or device.source_dev or ""
        case MemoryDevice() if device.model == "sgx-epc":
            yield from SGX


def hostdev_paths(hostdev: Hostdev) -> Iterator[str]:
    """List the device nodes of a PCI device or of a mediated one."""
    if hostdev.type in ("mdev", "pci"):
        yield "/dev/vfio/vfio"
        yield from vfio_nodes(hostdev)


def restrict(cgroup: GuestCgroup, name: str, rules: frozenset[DeviceRule]) -> bool:
    """Let a QEMU open these devices alone; return whether the host lets us say so."""
    if not cgroup.wants(CONTROLLER):
        return False
    try:
        restrict_devices(cgroup.group, rules)
    except OSError as error:
        log.warning("%s: QEMU may open every device its user may: %s", name, error)
        return False
    return True


def permit(guest: Guest, paths: Iterable[str]) -> None:
    """Let a running QEMU open more devices, which are about to be plugged.

    Raises:
        VirError: SYSTEM_ERROR: the kernel refuses.
    """
    if not guest.status.filters_devices:
        return
    before = _allowed(guest)
    _change(guest, before | frozenset(device_rules(paths)), before)


def forbid(guest: Guest, paths: Iterable[str]) -> None:
    """Let a running QEMU open devices no longer that its XML does not name any more."""
    if not guest.status.filters_devices:
        return
    before = _allowed(guest)
    gone = frozenset(device_rules(paths)) - allowed_devices(guest.domain, guest.context.config)
    try:
        _change(guest, before - gone, before)
    except VirError as error:
        log.warning("%s: %s", guest.name, error)


def _allowed(guest: Guest) -> frozenset[DeviceRule]:
    if guest.device_rules is None:
        guest.device_rules = allowed_devices(guest.domain, guest.context.config)
    return guest.device_rules


def _change(guest: Guest, rules: frozenset[DeviceRule], before: frozenset[DeviceRule]) -> None:
    if rules == before:
        return
    try:
        restrict_devices(guest.cgroup.group, rules, before)
    except OSError as error:
        detail = f"unable to change which devices '{guest.name}' may open: {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.CGROUP) from error
    guest.device_rules = rules
