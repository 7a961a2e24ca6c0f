"""What a guest's private /dev has: planned at its start, changed with its devices.

Owns: that plan, and when it is carried out. May touch: the guest's /dev, by `private_dev`.
Source: libvirt 9.0, qemuDomainBuildNamespace, qemu.conf "namespaces", "cgroup_device_acl".
"""

from __future__ import annotations

import glob
import logging
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from conf.domain import Domain
from conf.domain.device_xml import Device
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime.emulator_user import User
from supervisor.workers.file_owners import ChownedFile
from supervisor.workers.qemu.cgroup.devices import (
    DEFAULT_ACL,
    device_paths,
    has_hardware_sound,
    opened_paths,
    renders,
)
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.namespace.dev_entries import DevEntry, EntryKind, plan_entries
from supervisor.workers.qemu.namespace.private_dev import (
    NamespaceError,
    add_entries,
    kept_mounts,
    remove_entries,
    spawn_with_private_dev,
)
from supervisor.workers.qemu.start.files import domain_files

SHARED_MEMORY: Final = "/dev/shm"  # of POSIX; a mount of its own nearly everywhere
SOUND: Final = ("/dev/snd/*", "/dev/dsp*", "/dev/mixer*")
RENDER: Final = ("/dev/dri/*",)
SEV: Final = "/dev/sev"
OWNER_MODE: Final = 0o600

T = TypeVar("T")

log = logging.getLogger(__name__)


def wants_private_dev(config: QemuConfig, *, session: bool) -> bool:
    """Return whether guests get a private /dev where the kernel allows it."""
    return not session and (config.namespaces is None or "mount" in config.namespaces)


def dev_paths(domain: Domain, config: QemuConfig) -> Iterator[str]:
    """List every path that QEMU may open below /dev; most do not lead there."""
    yield from config.cgroup_device_acl or DEFAULT_ACL
    yield SHARED_MEMORY
    yield from device_paths(domain)
    if domain.os.loader is not None and domain.os.loader.path:
        yield domain.os.loader.path
    if domain.launch_security is not None:
        yield SEV
    yield from shared_hardware(domain)


def shared_hardware(domain: Domain) -> Iterator[str]:
    """List the nodes of sound and rendering, of which the XML names no single one."""
    patterns: list[str] = []
    patterns += SOUND if has_hardware_sound(domain) else ()
    patterns += RENDER if renders(domain) else ()
    for pattern in patterns:
        yield from sorted(glob.glob(pattern))


def owned_paths(files: Iterable[ChownedFile], devices: Iterable[Device]) -> set[str]:
    """Return what is QEMU's user's in a private /dev: what the XML names, but for relabel='no'."""
    kept = [file.path for file in files if not file.keeps_owner]
    return {*kept, *(path for device in devices for path in opened_paths(device))}


def start_entries(
    domain: Domain, config: QemuConfig, user: User | None, kept: Sequence[str]
) -> list[DevEntry]:
    """Plan the /dev of a guest that starts.

    Args:
        domain: the domain.
        config: qemu.conf.
        user: whose the nodes of the domain's devices become; None: they stay the host's owners'.
        kept: mounts that are in it, too.
    """
    devices = domain.devices
    named: list[Device] = [*devices.hostdevs, *devices.rngs, *devices.tpms, *devices.inputs]
    owned = owned_paths(domain_files(domain), [*named, *devices.memories])
    owned.update(shared_hardware(domain))
    return with_owner(dev_paths(domain, config), owned, user, kept)


def with_owner(
    paths: Iterable[str], owned: Iterable[str], user: User | None, kept: Sequence[str]
) -> list[DevEntry]:
    """Plan entries; the nodes that the owned paths lead to become the user's."""
    entries = plan_entries(paths, kept)
    if user is None:
        return entries
    nodes = {entry.path for entry in plan_entries(owned, kept) if entry.kind is EntryKind.NODE}
    return [
        replace(entry, uid=user.uid, gid=user.gid, mode=entry.mode | OWNER_MODE)
        if entry.path in nodes and not is_for_all(entry.mode)
        else entry
        for entry in entries
    ]


def is_for_all(mode: int) -> bool:
    """Return whether a node is open to every user, as /dev/null is: it stays the host's."""
    return stat.S_ISCHR(mode) and mode & 0o006 == 0o006


def leads_to_node(path: str, kept: Sequence[str]) -> bool:
    """Return whether QEMU opens a node of its private /dev by this path, and not the host's."""
    return any(entry.kind is EntryKind.NODE for entry in plan_entries([path], kept))


def outside_dev(files: Iterable[ChownedFile]) -> list[ChownedFile]:
    """Leave out what a private /dev has a node for: the host's node keeps its owner."""
    kept = kept_mounts()
    return [file for file in files if not leads_to_node(file.path, kept)]


def inside_dev(files: Iterable[ChownedFile]) -> list[ChownedFile]:
    """List the others."""
    kept = kept_mounts()
    return [file for file in files if leads_to_node(file.path, kept)]


def spawn_private(
    domain: Domain, config: QemuConfig, user: User | None, spawn: Callable[[], T]
) -> tuple[T, int] | None:
    """Spawn QEMU with a private /dev.

    Returns:
        What `spawn` returns, and the number of the private /dev's device. None: the kernel refuses
        a private one, and QEMU is to have the host's, as with libvirt.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the kernel refuses it, and qemu.conf asks for it; what `spawn`
            raises.
    """
    kept = kept_mounts()
    entries = start_entries(domain, config, user, kept)
    try:
        return spawn_with_private_dev(entries, kept, spawn)
    except NamespaceError as error:
        if config.namespaces is not None:
            detail = f"mount namespace is not available: {error}; set namespaces = [] in qemu.conf"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU) from error
        log.warning(
            "QEMU of domain '%s' has the host's /dev, as the kernel lets us make no private one: "
            "%s. namespaces = [] in qemu.conf asks for none",
            domain.name,
            error,
        )
        return None


# While the guest runs.


def add_nodes(guest: Guest, paths: Iterable[str], owned: Iterable[str], user: User | None) -> None:
    """Add what a device needs that is about to be plugged.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    device = guest.status.private_dev
    if not device:
        return
    entries = with_owner(paths, owned, user, kept_mounts())
    if not entries:
        return
    try:
        add_entries(guest.process.identity, device, entries)
    except OSError as error:
        names = ", ".join(entry.path for entry in entries)
        detail = f"Unable to create device {names} in the namespace of '{guest.name}': {error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error


def remove_nodes(guest: Guest, paths: Iterable[str]) -> None:
    """Remove what an unplugged device needed, but for what other devices need."""
    device = guest.status.private_dev
    if not device or guest.process.exited:
        return
    kept = kept_mounts()
    gone = plan_entries(paths, kept)
    if not gone:
        return
    needed = {e.path for e in plan_entries(dev_paths(guest.domain, guest.context.config), kept)}
    try:
        remove_entries(
            guest.process.identity, device, [entry for entry in gone if entry.path not in needed]
        )
    except OSError as error:
        log.warning("%s: nodes of a device stay in its /dev: %s", guest.name, error)
