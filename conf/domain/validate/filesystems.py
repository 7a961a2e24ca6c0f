"""Checks of the file systems of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.filesystem import NO_MODE, Filesystem
from conf.domain.model import Domain
from conf.domain.validate.vhost_user import require_shared_memory
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/devices/filesystem"
#: Drivers of containers' folders: QEMU has no device for them.
CONTAINER_DRIVERS: Final = ("loop", "nbd", "ploop")


def check_filesystems(domain: Domain) -> None:
    """Check the file systems.

    Raises:
        ConfError: "config_unsupported".
    """
    for filesystem in domain.devices.filesystems:
        _check(domain, filesystem)


def _check(domain: Domain, filesystem: Filesystem) -> None:
    driver = filesystem.driver_type
    if filesystem.type != "mount":
        raise ConfError(UNSUPPORTED, "only supports mount filesystem type", f"{PATH}/@type")
    modes = {filesystem.fmode, filesystem.dmode} - {None, NO_MODE}
    if modes and filesystem.accessmode != "mapped":
        detail = "fmode and dmode must be used with accessmode=mapped"
        raise ConfError(UNSUPPORTED, detail, PATH)
    if driver == "virtiofs":
        _check_virtiofs(domain, filesystem)
        return
    if filesystem.boot_order is not None:
        detail = "boot order is only supported for virtiofs"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/boot")
    if driver == "handle" and filesystem.accessmode != "passthrough":
        detail = "only supports passthrough accessmode"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@accessmode")
    if driver in CONTAINER_DRIVERS:
        detail = "Filesystem driver type not supported"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/driver/@type")


def _check_virtiofs(domain: Domain, filesystem: Filesystem) -> None:
    """Check what virtiofsd cannot do; how one that is not ours is run, is its own matter."""
    ours = filesystem.source_socket is None
    if ours and filesystem.readonly:
        detail = "virtiofs does not yet support read-only mode"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/readonly")
    if ours and filesystem.accessmode not in (None, "passthrough"):
        detail = "virtiofs only supports passthrough accessmode"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@accessmode")
    format_ = filesystem.driver.format if filesystem.driver else None
    for name, value in (
        ("multidevs", filesystem.multidevs),
        ("wrpolicy", filesystem.wrpolicy if ours else None),
        ("model", filesystem.model),
        ("format", format_),
    ):
        if value is not None:
            detail = f"virtiofs does not support {name}"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/@{name}")
    require_shared_memory(domain, "virtiofs", PATH)
