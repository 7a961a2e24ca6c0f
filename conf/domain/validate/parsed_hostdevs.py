"""Checks of parsed devices of the host: required parts and contradictions.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from conf.domain.devices.hostdev import CAPABILITY_NAMES, Hostdev, HostdevSource
from conf.errors import ConfError
from conf.types.ip_route import check_route

UNSUPPORTED: Final = "config_unsupported"
WWPN: Final = re.compile("naa[.][0-9a-fA-F]{16}")


def check_parsed_hostdev(hostdev: Hostdev, before: Sequence[Hostdev]) -> None:
    """Check a device of the host before its defaults are filled in.

    Args:
        hostdev: it.
        before: those that the document has before it.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    path = "domain/devices/hostdev"
    if hostdev.type == "mdev" and not hostdev.source.uuid:
        detail = "Missing 'uuid' attribute for element <address>"
        raise ConfError(UNSUPPORTED, detail, f"{path}/source/address")
    if hostdev.type == "scsi":
        _check_scsi_source(hostdev.source)
    if hostdev.type == "scsi_host":
        _check_vhost_scsi(hostdev.source)
    for route in hostdev.routes:
        check_route("Domain hostdev device", route)
    _check_capability(hostdev)
    secret = hostdev.source.auth.secret if hostdev.source.auth else None
    if secret is not None and secret.type != "iscsi":
        detail = f"hostdev invalid secret type '{secret.type or '<null>'}'"
        raise ConfError("internal", detail, f"{path}/source/auth/secret/@type")
    if any(_same_device(hostdev, other) for other in before):
        raise ConfError("xml", "Hostdev already exists in the domain configuration", path)


def _check_vhost_scsi(source: HostdevSource) -> None:
    """Check the name of a target of the kernel's vhost-scsi."""
    path = "domain/devices/hostdev/source"
    if source.protocol is None:
        raise ConfError("xml", "Missing scsi_host subsystem protocol", f"{path}/@protocol")
    if source.protocol != "vhost":
        detail = f"Unknown scsi_host subsystem protocol '{source.protocol}'"
        raise ConfError(UNSUPPORTED, detail, f"{path}/@protocol")
    if source.wwpn is None:
        raise ConfError("xml", "missing vhost-scsi hostdev source wwpn", f"{path}/@wwpn")
    if not WWPN.fullmatch(source.wwpn):
        raise ConfError("xml", "malformed 'wwpn' value", f"{path}/@wwpn")


def _check_scsi_source(source: HostdevSource) -> None:
    """Check that a unit of the host's SCSI adapter, or an iSCSI disk, is named in full."""
    if source.protocol == "iscsi":
        _check_iscsi(source)
    elif source.protocol is not None:
        detail = f"Unknown SCSI subsystem protocol '{source.protocol}'"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/hostdev/source/@protocol")
    else:
        _check_scsi_unit(source)


def _check_iscsi(source: HostdevSource) -> None:
    path, count = "domain/devices/hostdev/source", len(source.hosts)
    if source.name is None:
        raise ConfError("xml", "missing iSCSI hostdev source path name", f"{path}/@name")
    if count != 1:
        detail = (
            "only one source host address may be specified for the iSCSI hostdev"
            if count
            else "missing the host address for the iSCSI hostdev"
        )
        raise ConfError("xml", detail, f"{path}/host")


def _check_scsi_unit(source: HostdevSource) -> None:
    path, address = "domain/devices/hostdev/source", source.address
    if address is None:
        detail = "'address' must be specified for scsi hostdev source"
        raise ConfError("xml", detail, path)
    for name in ("bus", "target", "unit"):
        if getattr(address, name) is None:
            detail = f"Missing required attribute '{name}' in element 'address'"
            raise ConfError("xml", detail, f"{path}/address/@{name}")
    if not source.adapter:
        detail = "'adapter' name must be specified for scsi hostdev source"
        raise ConfError("xml", detail, path)


def _check_capability(hostdev: Hostdev) -> None:
    """Check that a device which is given to a container has its name."""
    if hostdev.mode != "capabilities":
        return
    name = CAPABILITY_NAMES[hostdev.type]
    if not getattr(hostdev.source, name):
        kind = "character" if name == "char" else hostdev.type
        detail = f"Missing <{name}> element in hostdev {kind} device"
        raise ConfError("xml", detail, "domain/devices/hostdev/source")


def _same_device(hostdev: Hostdev, other: Hostdev) -> bool:
    if (hostdev.mode, hostdev.type) != (other.mode, other.type):
        return False
    if hostdev.type not in ("usb", "pci", "mdev"):
        return hostdev.source == other.source and hostdev.source is not None
    if hostdev.type == "usb" and (hostdev.source.address is None or other.source.address is None):
        ids = (hostdev.source.vendor, hostdev.source.product)
        return None not in ids and ids == (other.source.vendor, other.source.product)
    return hostdev.source.address == other.source.address
