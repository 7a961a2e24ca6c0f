"""Checks of a completed LXC domain, as libvirt 9.0 has them.

Owns: these refusals. Pure: a domain is read, never changed.
Source: libvirt 9.0's lxc driver.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices import Devices
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
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
#: Devices that the LXC driver supports, by the names of the model's fields.
SUPPORTED_DEVICES: Final = (
    "emulator",
    "disks",
    "filesystems",
    "interfaces",
    "consoles",
    "hostdevs",
)
FILESYSTEMS: Final = ("mount", "bind", "file", "block", "ram")
INTERFACES: Final = ("network", "bridge", "ethernet", "direct")
PLAIN_FEATURES: Final = ("acpi", "apic", "pae", "privnet", "capabilities")
MAX_ID: Final = (1 << 32) - 2  # the highest user and group; the last number means none


def check_container(domain: Domain, host_arch: str) -> None:
    """Refuse elements that the LXC driver does not support.

    Raises:
        ConfError: the kind is the code that libvirt answers with.
    """
    _check_kind(domain, host_arch)
    _check_init(domain)
    _check_idmap(domain)
    _check_features(domain)
    check_partition(domain.partition)
    check_labels(domain)
    _check_devices(domain.devices)
    _check_namespaces(domain)


def _check_kind(domain: Domain, host_arch: str) -> None:
    if domain.type != "lxc":
        detail = f"containers are of type 'lxc', not '{domain.type}'"
        raise ConfError(UNSUPPORTED, detail, "domain/@type")
    kind = domain.os.type
    if kind is None or not kind.name:
        raise ConfError("xml", "an os <type> must be specified", "domain/os/type")
    if kind.name != "exe":
        detail = f"a container runs a program (<type>exe</type>), not '{kind.name}'"
        raise ConfError(UNSUPPORTED, detail, "domain/os/type")
    runs = {host_arch} | ({"i686"} if host_arch == "x86_64" else set())
    if kind.arch is not None and kind.arch not in runs:
        detail = f"this host runs containers of {host_arch}, not of '{kind.arch}'"
        raise ConfError(UNSUPPORTED, detail, "domain/os/type/@arch")


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
    if os.init is not None and not os.init.startswith("/"):
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
    mapped = domain.idmap
    if mapped is None:
        return
    if bool(mapped.uids) != bool(mapped.gids):
        detail = "users and groups must be mapped both, or neither"
        raise ConfError(UNSUPPORTED, detail, "domain/idmap")
    for name, ranges in (("uid", mapped.uids), ("gid", mapped.gids)):
        _check_ranges(f"domain/idmap/{name}", ranges)


def _check_ranges(path: str, ranges: list[IdRange]) -> None:
    if ranges and ranges[0].start != 0:
        raise ConfError(UNSUPPORTED, "You must map the root user of container", path)
    for id_range in ranges:
        if (
            id_range.count == 0
            or max(id_range.start, id_range.target) + id_range.count - 1 > MAX_ID
        ):
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


def _check_devices(devices: Devices) -> None:
    for field in fields(devices):
        if field.name not in SUPPORTED_DEVICES and getattr(devices, field.name):
            detail = f"containers have no devices of this kind ({field.name})"
            raise ConfError(UNSUPPORTED, detail, "domain/devices")
    _check_filesystems(devices.filesystems)
    for disk in devices.disks:
        if disk.type != "block" or disk.device != "disk":
            detail = f"the disk '{disk.target.dev}' is none of a block device"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/disk")
        check_disk_names(disk)
    for interface in devices.interfaces:
        _check_interface(interface)
    for console in devices.consoles:
        if console.type != "pty" or console.target_type not in (None, "lxc"):
            target = console.target_type or "lxc"
            detail = (
                "consoles of containers are of type 'pty' with target 'lxc', "
                f"not '{console.type}' with '{target}'"
            )
            raise ConfError(UNSUPPORTED, detail, "domain/devices/console")
    for hostdev in devices.hostdevs:
        _check_hostdev(hostdev)


def _check_filesystems(filesystems: list[Filesystem]) -> None:
    targets: set[str] = set()
    for filesystem in filesystems:
        _check_filesystem(filesystem)
        if filesystem.target_dir in targets:
            detail = f"filesystem target '{filesystem.target_dir}' specified twice"
            raise ConfError("internal", detail, "domain/devices/filesystem/target")
        targets.add(filesystem.target_dir or "")


def _check_filesystem(filesystem: Filesystem) -> None:
    path = f"domain/devices/filesystem[{filesystem.target_dir}]"
    if filesystem.type not in FILESYSTEMS:
        detail = f"unsupported filesystem type '{filesystem.type}'"
        raise ConfError(UNSUPPORTED, detail, path)
    if not (filesystem.target_dir or "").startswith("/"):
        raise ConfError("xml", "a <target dir=…> is an absolute path", path)
    if ".." in (filesystem.target_dir or "").split("/"):
        raise ConfError("xml", "a <target dir=…> does not go up", path)
    if filesystem.type == "ram" and filesystem.usage is None:
        raise ConfError("xml", "missing 'usage' attribute for RAM filesystem", path)
    sources = {
        "mount": filesystem.source_dir,
        "bind": filesystem.source_dir,
        "file": filesystem.source_file,
        "block": filesystem.source_dev,
        "ram": "/",
    }
    source = sources[filesystem.type]
    if not source:
        raise ConfError("no_source", f"{filesystem.target_dir or ''}", path)
    if not source.startswith("/"):
        raise ConfError("xml", f"the source '{source}' is not an absolute path", path)
    driver = filesystem.driver_type or ("loop" if filesystem.type == "file" else "path")
    if driver not in (("loop", "nbd") if filesystem.type == "file" else ("path",)):
        raise ConfError(UNSUPPORTED, f"the filesystem driver '{driver}' is for other types", path)
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


def _check_hostdev(hostdev: Hostdev) -> None:
    path = "domain/devices/hostdev"
    if hostdev.mode == "subsystem":
        check_hostdev_names(hostdev)
        return
    required = {
        "storage": ("block", hostdev.source.block),
        "misc": ("char", hostdev.source.char),
        "net": ("interface", hostdev.source.interface),
    }
    if hostdev.type not in required:
        detail = f"unknown host device source address type '{hostdev.type}'"
        raise ConfError("xml", detail, f"{path}/@type")
    name, value = required[hostdev.type]
    if not value:
        raise ConfError("xml", f"Missing <{name}> element in hostdev {hostdev.type} device", path)
    check_hostdev_names(hostdev)


def _check_namespaces(domain: Domain) -> None:
    shared = domain.lxc_namespace
    if shared is None:
        return
    kinds = {"sharenet": shared.net, "shareipc": shared.ipc, "shareuts": shared.uts}
    for name, text in kinds.items():
        for namespace in text:
            path = f"domain/lxc:namespace/lxc:{name}"
            if namespace.type == "none":
                continue
            if not namespace.value:
                raise ConfError("internal", f"lxc:{name} needs a value", path)
            if namespace.type == "netns" and name != "sharenet":
                detail = "'netns' namespace types can only be used with sharenet"
                raise ConfError("invalid_arg", detail, path)
            check_shared_namespace(name, namespace)
