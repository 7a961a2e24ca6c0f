"""Checks of an LXC domain before its start: what a definition may have and no container can do.

libvirt 9.0 takes these definitions. At the start it refuses some, and passes over others; here each
is refused, for a container must not run without what its XML says.

Owns: these refusals. Pure: a domain is read, never changed.
Source: libvirt 9.0's lxc driver; user_namespaces(7).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices import Devices
from conf.domain.devices.chardev import CharDevice
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.interface import Interface
from conf.domain.lxc.model import IdRange
from conf.domain.lxc.values import (
    check_disk_names,
    check_hostdev_names,
    check_image,
    check_interface_names,
    check_labels,
    check_partition,
    check_shared_namespace,
)
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
FILESYSTEMS: Final = ("mount", "bind", "file", "block", "ram")
INTERFACES: Final = ("network", "bridge", "ethernet", "direct")
PLAIN_FEATURES: Final = ("acpi", "apic", "pae", "privnet", "capabilities")
MAX_ID: Final = (1 << 32) - 2  # the highest user and group; the last number means none


def check_startable(domain: Domain) -> None:
    """Refuse what no container can be started with.

    Raises:
        ConfError: "config_unsupported", "xml", "internal", "invalid_arg".
    """
    _check_init(domain)
    _check_idmap(domain)
    _check_features(domain)
    check_partition(domain.partition)
    check_labels(domain)
    check_startable_devices(domain.devices)
    if domain.lxc_namespace is not None:
        for kind, elements in domain.lxc_namespace.kinds().items():
            for shared in elements:
                check_shared_namespace(f"share{kind}", shared)


def check_startable_devices(devices: Devices) -> None:
    """Refuse devices that no container can have.

    Raises:
        ConfError: as `check_startable`.
    """
    _check_filesystems(devices.filesystems)
    for disk in devices.disks:
        if disk.type != "block" or disk.device != "disk":
            detail = f"the disk '{disk.target.dev}' is none of a block device"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/disk")
        check_disk_names(disk)
    for interface in devices.interfaces:
        _check_interface(interface)
    for console in devices.consoles:
        _check_console(console)
    for hostdev in devices.hostdevs:
        check_hostdev_names(hostdev)


def _check_init(domain: Domain) -> None:
    os = domain.os
    for place, text in (
        ("init", os.init),
        ("initdir", os.init_dir),
        *((f"initarg[{number}]", text) for number, text in enumerate(os.init_args, 1)),
        *(("initenv", variable.value) for variable in os.init_variables),
    ):
        if text is not None and "\0" in text:
            raise ConfError("xml", "a NUL cannot be passed on", f"domain/os/{place}")
    if not (os.init or "").startswith("/"):
        detail = f"init must be an absolute path inside the container, not '{os.init}'"
        raise ConfError(UNSUPPORTED, detail, "domain/os/init")
    if os.init_dir is not None and not os.init_dir.startswith("/"):
        detail = f"init's folder must be an absolute path, not '{os.init_dir}'"
        raise ConfError("xml", detail, "domain/os/initdir")
    for variable in os.init_variables:
        if not variable.name or "=" in variable.name:
            detail = f"'{variable.name}' cannot be the name of a variable"
            raise ConfError("xml", detail, "domain/os/initenv/@name")


def _check_idmap(domain: Domain) -> None:
    if domain.idmap is not None:
        _check_ranges("domain/idmap/uid", domain.idmap.uids)
        _check_ranges("domain/idmap/gid", domain.idmap.gids)


def _check_ranges(path: str, ranges: list[IdRange]) -> None:
    for id_range in ranges:
        last = max(id_range.start, id_range.target) + id_range.count - 1
        if id_range.count == 0 or last > MAX_ID:
            detail = (
                f"count {id_range.count} from start {id_range.start} and target "
                f"{id_range.target} exceeds the highest ID, {MAX_ID}"
            )
            raise ConfError(UNSUPPORTED, detail, path)
    for attribute in ("start", "target"):
        end = 0
        for first, count in sorted(
            (getattr(id_range, attribute), id_range.count) for id_range in ranges
        ):
            if first < end:
                raise ConfError(UNSUPPORTED, f"ranges overlap at {attribute} {first}", path)
            end = first + count


def _check_features(domain: Domain) -> None:
    features = domain.features
    if features is None:
        return
    for field in fields(features):
        value = getattr(features, field.name)
        if value not in (None, False) and field.name not in PLAIN_FEATURES:
            name = field.name.replace("_", "-")
            detail = f"containers have no feature '{name}'"
            raise ConfError(UNSUPPORTED, detail, f"domain/features/{name}")


def _check_filesystems(filesystems: list[Filesystem]) -> None:
    targets: set[str] = set()
    for filesystem in filesystems:
        _check_filesystem(filesystem)
        if filesystem.target_dir in targets:
            detail = f"filesystem target '{filesystem.target_dir}' specified twice"
            raise ConfError("internal", detail, "domain/devices/filesystem/target")
        targets.add(filesystem.target_dir or "")


def _check_filesystem(filesystem: Filesystem) -> None:
    target = filesystem.target_dir or ""
    path = f"domain/devices/filesystem[{target}]"
    if filesystem.type not in FILESYSTEMS:
        raise ConfError(UNSUPPORTED, f"Cannot mount filesystem type {filesystem.type}", path)
    if not target.startswith("/"):
        detail = f"the target '{target}' of a filesystem is not an absolute path"
        raise ConfError("xml", detail, path)
    if ".." in target.split("/"):
        raise ConfError("xml", f"the target '{target}' of a filesystem goes up", path)
    source = "/" if filesystem.type == "ram" else filesystem.source_path or ""
    if not source.startswith("/"):
        raise ConfError("xml", f"the source '{source}' is not an absolute path", path)
    driver = filesystem.driver_type or ("loop" if filesystem.type == "file" else "path")
    if driver not in (("loop", "nbd") if filesystem.type == "file" else ("path",)):
        raise ConfError(UNSUPPORTED, f"fs driver {driver} is not supported", path)
    if filesystem.accessmode not in (None, "passthrough"):
        detail = f"accessmode '{filesystem.accessmode}' is not for containers"
        raise ConfError(UNSUPPORTED, detail, path)
    check_image(filesystem)


def _check_interface(interface: Interface) -> None:
    if interface.type not in INTERFACES:
        detail = f"Unsupported network type {interface.type}"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/@type")
    if interface.script is not None and interface.type != "ethernet":
        detail = f"scripts are not supported on LXC network interfaces of type {interface.type}"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/interface/script")
    check_interface_names(interface)


def _check_console(console: CharDevice) -> None:
    if console.type != "pty":
        detail = f"Only PTY console types are supported, not '{console.type}'"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/console/@type")
