"""Passthrough of SCSI devices: of the host's adapters, or over iSCSI.

Owns: their block node and their -device.
May touch: values only; the worker finds which /dev/sg a device of an adapter is.
"""

from __future__ import annotations

from conf.domain.devices.address import DriveAddress
from conf.domain.devices.hostdev import Hostdev
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import scsi_place
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device
from supervisor.workers.qemu.argv.network_storage import credentials, network_node
from supervisor.workers.qemu.argv.syntax import json_of
from supervisor.workers.qemu.block.nodes import PREFIX, number_disks


def device_options(context: Context, hostdev: Hostdev, number: int = 0) -> Options:
    """Build the block node, then scsi-generic in front of it.

    Args:
        context: of the launch, or of a device that is plugged.
        hostdev: the device.
        number: of the node; 0: it follows from the device's place among the others.
    """
    node = f"{PREFIX}{number}-backend" if number else _node_name(context, hostdev)
    storage = hostdev.source.storage
    if storage is not None:
        yield from credentials(context, storage, node)
        props = network_node(context, storage, node)
    else:
        props = _adapter_node(context, hostdev)
    props |= {"node-name": node, "read-only": bool(hostdev.readonly)}
    yield "-blockdev", json_of(props)
    yield device(_front(context, hostdev, node))


def _node_name(context: Context, hostdev: Hostdev) -> str:
    """Name the block node; its number follows those of the disks."""
    scsi = [item for item in context.domain.devices.hostdevs if item.type == "scsi"]
    position = next(number for number, item in enumerate(scsi, start=1) if item is hostdev)
    _, last_index = number_disks(context.domain.devices.disks)
    return f"{PREFIX}{last_index + position}-backend"


def _adapter_node(context: Context, hostdev: Hostdev) -> Props:
    path = context.inputs.scsi_generic.get(hostdev.alias or "")
    if path is None:
        raise ConfError(
            "config_unsupported",
            f"host device '{hostdev.alias}': the host has no such SCSI device",
        )
    return {"driver": "host_device", "filename": path}


def _front(context: Context, hostdev: Hostdev, node: str) -> Props:
    address = hostdev.address
    if not isinstance(address, DriveAddress):
        raise ConfError("internal", f"host device '{hostdev.alias}' has no address of type 'drive'")
    return {
        "driver": "scsi-generic",
        "drive": node,
        "id": hostdev.alias,
        **scsi_place(context, address),
        "share-rw": True if hostdev.shareable else None,
        "bootindex": context.boot_order(hostdev),
    }
