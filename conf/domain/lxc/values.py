"""Checks of the values of an LXC domain that become names, paths and cgroups of the host.

Owns: refusing those that would lead elsewhere, or that would have no effect. Pure.
Source: libvirt 9.0's lxc driver; Linux, the names of network devices.
"""

from __future__ import annotations

import re
from typing import Final

from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.hostdev import Hostdev
from conf.domain.devices.interface import Interface
from conf.domain.lxc.model import SharedNamespace
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
GROUP: Final = re.compile(r"[A-Za-z0-9_@:][A-Za-z0-9_.@:-]*")
NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NETDEV: Final = re.compile(r"(?!\.\.?$)[!-.0-9;-~]{1,15}")  # no space, slash or colon


def check_partition(partition: str | None) -> None:
    """Refuse a resource partition that is not an absolute path of cgroups.

    Raises:
        ConfError: "config_unsupported": it is relative, or a part is no group's name.
    """
    if partition is None:
        return
    path = "domain/resource/partition"
    if not partition.startswith("/"):
        detail = f"Resource partition '{partition}' must start with '/'"
        raise ConfError(UNSUPPORTED, detail, path)
    for part in partition.split("/"):
        if part and GROUP.fullmatch(part) is None:
            raise ConfError(UNSUPPORTED, f"{part!r} cannot be the name of a cgroup", path)


def check_labels(domain: Domain) -> None:
    """Check that no security driver is asked for: the LXC driver has none.

    Raises:
        ConfError: "config_unsupported": the XML has one.
    """
    for label in domain.seclabels:
        if label.type != "none" and label.model not in (None, "none"):
            detail = (
                f"Unable to find security driver for model {label.model}; containers have none, "
                "use <seclabel type='none'/>"
            )
            raise ConfError(UNSUPPORTED, detail, "domain/seclabel")


def check_disk_names(disk: Disk) -> None:
    """Check that a disk has a block device of the host as its source and a valid name in /dev.

    Raises:
        ConfError: "config_unsupported": it has no source, or its name is no node's.
    """
    path = "domain/devices/disk"
    name = disk.target.dev or ""
    if NODE.fullmatch(name) is None:
        raise ConfError(UNSUPPORTED, f"{name!r} cannot be a node in /dev", f"{path}/target/@dev")
    source = disk.source.dev if disk.source is not None else None
    if not source:
        raise ConfError(UNSUPPORTED, f"the disk '{name}' has no source", f"{path}/source")
    _check_path(source, f"{path}/source/@dev")


def check_hostdev_names(hostdev: Hostdev) -> None:
    """Check the device node, network device or USB address of a host device.

    Raises:
        ConfError: "config_unsupported".
    """
    path = "domain/devices/hostdev/source"
    if hostdev.mode == "subsystem":
        _check_usb(hostdev)
        return
    if hostdev.type == "net":
        _check_netdev(hostdev.source.interface or "", f"{path}/interface")
        return
    node = hostdev.source.block if hostdev.type == "storage" else hostdev.source.char
    _check_path(node or "", path)


def _check_usb(hostdev: Hostdev) -> None:
    source = hostdev.source
    if hostdev.type != "usb":
        detail = (
            f"Unsupported host device type {hostdev.type}: a container has USB devices, and those "
            "that <hostdev mode='capabilities'> names by their nodes"
        )
        raise ConfError(UNSUPPORTED, detail, "domain/devices/hostdev/@type")
    by_name = source.vendor is not None and source.product is not None
    by_place = source.bus is not None and source.device is not None
    if not (by_name or by_place):
        detail = "a USB device is named by its <vendor> and <product>, or by bus and device"
        raise ConfError("xml", detail, "domain/devices/hostdev/source")


def check_interface_names(interface: Interface) -> None:
    """Check the name of the network device and that no address has a peer, which liblxc lacks.

    Raises:
        ConfError: "config_unsupported".
    """
    path = "domain/devices/interface"
    if interface.guest_dev is not None:
        _check_netdev(interface.guest_dev, f"{path}/guest/@dev")
    for ip in interface.ips:
        if ip.peer is not None:
            detail = f"a container's address cannot have a peer ('{ip.peer}'); write a <route>"
            raise ConfError(UNSUPPORTED, detail, f"{path}/ip/@peer")


def check_image(filesystem: Filesystem) -> None:
    """Check the image format: a loop device reads raw images only.

    Raises:
        ConfError: "config_unsupported": the image is of another format.
    """
    text = filesystem.driver.format if filesystem.driver is not None else None
    if text not in (None, "raw") and filesystem.driver_type != "nbd":
        path = "domain/devices/filesystem/driver/@format"
        raise ConfError(UNSUPPORTED, f"fs format {text} is not supported", path)


def check_shared_namespace(name: str, namespace: SharedNamespace) -> None:
    """Check the name of the container or process whose namespace is shared.

    Raises:
        ConfError: "invalid_arg": it leads elsewhere.
    """
    value = namespace.value
    path = f"domain/lxc:namespace/lxc:{name}/@value"
    if namespace.type == "netns" and name != "sharenet":
        detail = "'netns' namespace types can only be used with sharenet"
        raise ConfError("invalid_arg", detail, path)
    if "/" in value or "\0" in value or value in ("", ".", ".."):
        raise ConfError("invalid_arg", f"{value!r} is the name of nothing to share", path)
    if namespace.type == "pid" and not (value.isascii() and value.isdigit()):
        raise ConfError("invalid_arg", f"'{value}' is no process", path)


def _check_netdev(name: str, path: str) -> None:
    if NETDEV.fullmatch(name) is None:
        raise ConfError(UNSUPPORTED, f"{name!r} cannot be the name of a network device", path)


def _check_path(node: str, path: str) -> None:
    if not node.startswith("/") or ".." in node.split("/"):
        detail = f"a device's node is an absolute path that does not go up, not {node!r}"
        raise ConfError(UNSUPPORTED, detail, path)
