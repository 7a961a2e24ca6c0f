"""Folders of the host shared with the guest: 9p and virtiofs.

Owns: -fsdev and its device.
May touch: values only; virtiofsd is the worker's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain.devices.address import PciAddress
from conf.domain.devices.filesystem import Filesystem
from conf.errors import ConfError
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device
from supervisor.workers.qemu.argv.syntax import Option, options_of
from supervisor.workers.qemu.argv.virtio import pci_driver, virtio_props

SECURITY_MODELS: Final = {"mapped": "mapped", "passthrough": "passthrough", "squash": "none"}


def filesystems(context: Context) -> Options:
    """Build every <filesystem>."""
    for filesystem in context.domain.devices.filesystems:
        if filesystem.driver_type == "virtiofs":
            yield from virtiofs_options(context, filesystem)
        else:
            yield from _9p(context, filesystem)


def _9p(context: Context, filesystem: Filesystem) -> Options:
    alias = filesystem.alias or ""
    if filesystem.type != "mount":
        raise ConfError(
            "config_unsupported",
            f"filesystem type '{filesystem.type}' is not supported; only 'mount' is",
        )
    # QEMU has dropped the driver "handle"; it says so itself.
    driver = "handle" if filesystem.driver_type == "handle" else "local"
    if driver == "handle":
        filesystem = replace(filesystem, accessmode=None)
    members: dict[str, Option] = {
        "security_model": SECURITY_MODELS.get(filesystem.accessmode or "", None),
        "multidevs": filesystem.multidevs,
        "fmode": filesystem.fmode,
        "dmode": filesystem.dmode,
        "writeout": "immediate" if filesystem.wrpolicy == "immediate" else None,
        "id": f"fsdev-{alias}",
        "path": filesystem.source_path or "",
        "readonly": True if filesystem.readonly else None,
    }
    yield "-fsdev", options_of((driver,), members)
    yield device(
        {
            "driver": pci_driver("virtio-9p-pci", filesystem.model),
            **virtio_props(filesystem.driver),
            "id": alias,
            "fsdev": f"fsdev-{alias}",
            "mount_tag": filesystem.target_dir,
            **_place(context, filesystem, "virtio-9p"),
        }
    )


def _place(context: Context, filesystem: Filesystem, kind: str) -> Props:
    """Build the place of the device, which is a PCI one.

    Raises:
        ConfError: "internal": the document has another kind of address.
    """
    if filesystem.address is not None and not isinstance(filesystem.address, PciAddress):
        raise ConfError("internal", f"Unexpected address type for '{kind}'")
    return placed(context, filesystem.address)


def virtiofs_options(context: Context, filesystem: Filesystem) -> Options:
    """Build one <filesystem> that virtiofsd serves."""
    alias = filesystem.alias or ""
    socket = filesystem.source_socket or f"{context.inputs.domain_dir}/{alias}-fs.sock"
    yield "-chardev", options_of(("socket",), {"id": f"chr-vu-{alias}", "path": socket})
    yield device(
        {
            "driver": "vhost-user-fs-pci",
            **virtio_props(filesystem.driver),
            "id": alias,
            "chardev": f"chr-vu-{alias}",
            "queue-size": filesystem.queue,
            "tag": filesystem.target_dir,
            "bootindex": filesystem.boot_order,
            **_place(context, filesystem, "vhost-user-fs"),
        }
    )
