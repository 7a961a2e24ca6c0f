"""Disks: the chain of block nodes of each, then the device that the guest sees.

Owns: the device's properties and their order; `block.nodes` names the nodes.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.address import DriveAddress
from conf.domain.devices.disk import Disk, DiskDriver
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import controller_alias, placed, scsi_place
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device, obj
from supervisor.workers.qemu.argv.storage import NodeOptions, image_nodes
from supervisor.workers.qemu.argv.syntax import json_of, options_of
from supervisor.workers.qemu.argv.virtio import SUFFIXES, virtio_props
from supervisor.workers.qemu.block.nodes import DiskNodes, number_disks

WRITE_CACHE: Final = {
    "none": "on", "writeback": "on", "unsafe": "on", "writethrough": "off", "directsync": "off",
}  # fmt: skip
VIRTIO_BLOCK: Final = "virtio-blk-pci"


def disks(context: Context) -> Options:
    """Build every disk, in the domain's order."""
    disks = context.domain.devices.disks
    numbered, _ = number_disks(disks)
    for disk, nodes in zip(disks, numbered, strict=True):
        yield from disk_options(context, disk, nodes)


def node_options(context: Context, disk: Disk, nodes: DiskNodes) -> Options:
    """Build the block nodes of a drive's images."""
    yield from image_nodes(context, nodes, shared_node_options(disk))


def disk_options(context: Context, disk: Disk, nodes: DiskNodes) -> Options:
    """Build one disk's nodes and device."""
    if disk.target.bus == "sd":
        if nodes.images and nodes.images[0].source.fdgroup is not None:
            detail = "an SD card cannot be an open file: remove fdgroup= from its <source>"
            raise ConfError("config_unsupported", detail)
        yield (
            "-drive",
            options_of(
                (),
                {
                    "file": nodes.images[0].source.file if nodes.images else None,
                    "format": nodes.images[0].format if nodes.images else None,
                    "if": "sd",
                    "index": _drive_index(disk),
                },
            ),
        )
        return
    if disk.source is not None and disk.type == "vhostuser":
        yield from _vhost_user(context, disk)
        return
    yield from node_options(context, disk, nodes)
    if nodes.copy_on_read is not None:
        yield (
            "-blockdev",
            json_of(
                {
                    "driver": "copy-on-read",
                    "node-name": nodes.copy_on_read,
                    "file": nodes.images[0].format_name,
                    "discard": "unmap",
                }
            ),
        )
    yield device(_device(context, disk, nodes.top_name))


def _drive_index(disk: Disk) -> int:
    """Convert the letters of a target's name to a number: sda is 0."""
    letters = (disk.target.dev or "a").removeprefix("sd")
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def shared_node_options(disk: Disk) -> NodeOptions:
    """Return what holds for every image of a disk."""
    driver = disk.driver
    if driver is None:
        return NodeOptions(floppy=disk.device == "floppy")
    return NodeOptions(
        cache=driver.cache,
        io=driver.io,
        discard=driver.discard,
        detect_zeroes=driver.detect_zeroes,
        floppy=disk.device == "floppy",
    )


def _vhost_user(context: Context, disk: Disk) -> Options:
    """Build a disk that a vhost-user process serves."""
    source = disk.source
    identity = f"chr-vu-{disk.alias}"
    reconnect = source.reconnect if source else None
    seconds = None
    if reconnect is not None and reconnect.enabled is not None:
        seconds = reconnect.timeout if reconnect.enabled else 0
    members = {
        "id": identity,
        "path": source.path if source else None,
        "reconnect": seconds,
    }
    yield "-chardev", options_of(("socket",), members)
    yield device(
        {
            "driver": f"vhost-user-blk-pci{SUFFIXES.get(disk.model or '', '')}",
            **virtio_props(disk.driver),
            **_queue_props(disk.driver),
            **placed(context, disk.address),
            "chardev": identity,
            "id": disk.alias,
            "bootindex": context.boot_order(disk),
        }
    )


def _device(context: Context, disk: Disk, drive: str | None) -> Props:
    """Build the device in libvirt's order: address, drive, what the guest sees, tuning."""
    props = _front(context, disk)
    if disk.shareable:
        props["share-rw"] = True
    props |= {"drive": drive, "id": disk.alias}
    if disk.target.bus == "fdc":
        return props
    blockio, geometry = disk.blockio, disk.geometry
    props |= {
        "bootindex": context.boot_order(disk),
        "logical_block_size": blockio.logical_block_size if blockio else None,
        "physical_block_size": blockio.physical_block_size if blockio else None,
        "discard_granularity": blockio.discard_granularity if blockio else None,
        "wwn": int(disk.wwn, 16) if disk.wwn else None,
        "rotation_rate": disk.target.rotation_rate,
        "vendor": disk.vendor,
        "product": disk.product,
        "removable": bool(disk.target.removable) if disk.target.bus == "usb" else None,
        "write-cache": _write_cache(disk),
        "cyls": geometry.cyls if geometry else None,
        "heads": geometry.heads if geometry else None,
        "secs": geometry.secs if geometry else None,
        "bios-chs-trans": geometry.trans if geometry else None,
        "serial": disk.serial.replace(" ", "\\ ") if disk.serial else None,
    }
    return props | _error_policies(disk)


def _front(context: Context, disk: Disk) -> Props:
    """Choose the driver and its address."""
    match disk.target.bus:
        case "virtio":
            return _virtio(context, disk)
        case "ide" | "sata":
            return _ide(context, disk)
        case "scsi":
            return _scsi(context, disk)
        case "usb":
            return {"driver": "usb-storage", **placed(context, disk.address)}
        case "fdc":
            return {"driver": "floppy", "unit": _drive_address(disk).unit}
    raise ConfError(
        "config_unsupported",
        f"disk '{disk.target.dev}': bus '{disk.target.bus}' is not supported; use virtio, scsi, "
        "sata, ide, usb or fdc",
    )


def _drive_address(disk: Disk) -> DriveAddress:
    if not isinstance(disk.address, DriveAddress):
        raise ConfError("internal", f"disk '{disk.target.dev}' has no address of type 'drive'")
    return disk.address


def _virtio(context: Context, disk: Disk) -> Props:
    driver = disk.driver
    props: Props = {"driver": f"{VIRTIO_BLOCK}{SUFFIXES.get(disk.model or '', '')}"}
    props |= virtio_props(driver)
    if driver is not None and driver.iothread:
        props["iothread"] = f"iothread{driver.iothread}"
    return props | _queue_props(driver) | placed(context, disk.address)


def _queue_props(driver: DiskDriver | None) -> Props:
    """Build what the guest's driver and the disk's other half agree on; 0 is QEMU's choice."""
    if driver is None:
        return {}
    return {
        "ioeventfd": driver.ioeventfd,
        "event_idx": driver.event_idx,
        "num-queues": driver.queues or None,
        "queue-size": driver.queue_size or None,
    }


def _ide(context: Context, disk: Disk) -> Props:
    address = _drive_address(disk)
    kind = "ide-cd" if disk.device == "cdrom" else "ide-hd"
    if disk.target.bus == "ide":
        return {"driver": kind, "bus": f"ide.{address.bus}", "unit": address.unit}
    alias = controller_alias(context, "sata", address.controller)
    return {"driver": kind, "bus": f"{alias}.{address.unit}"}


def _scsi(context: Context, disk: Disk) -> Props:
    address = _drive_address(disk)
    kind = {"cdrom": "scsi-cd", "lun": "scsi-block"}.get(disk.device, "scsi-hd")
    props: Props = {"driver": kind, **scsi_place(context, address)}
    if kind != "scsi-block":
        props["device_id"] = disk.serial or f"drive-{disk.alias}"
    return props


def _write_cache(disk: Disk) -> str | None:
    """Return whether the guest sees a write cache; it follows the cache mode."""
    mode = disk.driver.cache if disk.driver else None
    if mode is None or disk.device == "lun":
        return None
    return WRITE_CACHE.get(mode)


def _error_policies(disk: Disk) -> Props:
    driver = disk.driver
    if driver is None:
        return {}
    policy, read = driver.error_policy, driver.rerror_policy
    names = {"enospace": "enospc"}
    return {
        "werror": names.get(policy, policy) if policy else None,
        "rerror": read or ("report" if policy == "enospace" else None),
    }


def reservation_helper(context: Context) -> Options:
    """Build the pr-manager-helper object of the qemu-pr-helper that the worker runs."""
    for disk in context.domain.devices.disks:
        reservations = disk.source.reservations if disk.source else None
        if reservations is not None and reservations.managed:
            yield obj(
                {
                    "qom-type": "pr-manager-helper",
                    "id": "pr-helper0",
                    "path": f"{context.inputs.domain_dir}/pr-helper0.sock",
                }
            )
            return
