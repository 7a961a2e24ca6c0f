"""Checks of devices whose other half is a process of its own: it maps the guest's memory.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain.devices.disk import Blockio, Disk, Iotune
from conf.domain.model import Domain
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/devices/disk"
#: Attributes of <driver> that are QEMU's matter where QEMU opens the image.
DRIVER_SETTINGS: Final = (
    "cache", "error_policy", "io", "ioeventfd", "copy_on_read", "discard", "iothread",
    "detect_zeroes", "metadata_cache",
)  # fmt: skip


def has_shared_memory(domain: Domain) -> bool:
    """Return whether other processes can map all of the guest's memory."""
    backing = domain.memory_backing
    default = backing.access if backing else None
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    modes = [cell.mem_access or default for cell in cells] or [default]
    return all(mode == "shared" for mode in modes)


def require_shared_memory(domain: Domain, what: str, path: str) -> None:
    """Refuse a vhost-user device of a guest whose memory is private.

    Raises:
        ConfError: "config_unsupported".
    """
    if not has_shared_memory(domain):
        raise ConfError(UNSUPPORTED, f"'{what}' requires shared memory", path)


def check_vhost_user_disk(domain: Domain, disk: Disk) -> None:
    """Refuse what only the process that serves the disk could do.

    Raises:
        ConfError: "config_unsupported".
    """
    if disk.target.bus != "virtio":
        detail = "vhostuser disk supports only virtio bus"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/target/@bus")
    if disk.snapshot != "no":
        detail = "only snapshot=no is supported with vhostuser disk"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@snapshot")
    name = next(_settings_of_images(disk), "")
    if name:
        detail = f"{name} is not supported with vhostuser disk"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/{name}")
    require_shared_memory(domain, "vhostuser", PATH)


def _settings_of_images(disk: Disk) -> Iterator[str]:
    source, driver = disk.source, disk.driver
    elements = {
        "readonly": disk.readonly,
        "shareable": disk.shareable,
        "transient": disk.transient,
        "serial": disk.serial is not None,
        "auth": disk.auth or (source and source.auth),
        "encryption": disk.encryption or (source and source.encryption),
        "blockio": disk.blockio not in (None, Blockio()),
        "geometry": disk.geometry,
        "iotune": disk.iotune not in (None, Iotune()),
        "backingStore": disk.backing_store is not None,
    }
    yield from (name for name, present in elements.items() if present)
    for name in DRIVER_SETTINGS:
        value = getattr(driver, name) if driver else None
        if value not in (None, "default"):
            yield name
    if driver is not None and driver.rerror_policy is not None:
        yield "error_policy"
