"""Validation of a new volume's XML.

Owns: rules between format, backing store, features and encryption. Pure.
May not touch: files; secrets.
Source: libvirt 9.0's refusals, as in the corpus.
"""

from __future__ import annotations

import re
from typing import Final

from conf.errors import ConfError
from conf.storage.formats import PoolType, VolumeType, volume_type
from conf.storage.volume import Volume

#: Formats with backing files.
WITH_BACKING: Final = ("cow", "qcow", "qcow2", "qed", "vmdk")
#: Control characters: line-based tools cannot list such names.
CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_FILE_POOLS: Final = (
    PoolType.DIR, PoolType.FS, PoolType.NETFS, PoolType.VSTORAGE, PoolType.GLUSTER,
)  # fmt: skip


def check_new_volume(volume: Volume, pool_type: PoolType) -> None:
    """Validate a new volume.

    Raises:
        ConfError: the kind is libvirt's code.
    """
    if pool_type in _FILE_POOLS:
        check_file_name(volume.name)
    kind = volume_type(pool_type, volume.target.format)
    if kind is VolumeType.DIR and volume.backing_store is not None:
        detail = "backing storage not supported for directories volumes"
        raise ConfError("no_support", detail, "volume/backingStore")
    if kind is not VolumeType.FILE:
        return
    _check_compat(volume)
    _check_backing(volume)
    _check_features(volume)
    _check_encryption(volume)


def check_file_name(name: str) -> None:
    """Refuse a name that is not one file of the pool's directory.

    Raises:
        ConfError: "operation_invalid".
    """
    if "/" in name:
        detail = f"volume name '{name}' cannot contain '/'"
        raise ConfError("operation_invalid", detail, "volume/name")
    if name in ("", ".", "..") or len(name.encode(errors="surrogateescape")) > 255:
        detail = f"'{name[:255]}' is no valid file name for a volume"
        raise ConfError("operation_invalid", detail, "volume/name")
    if CONTROL.search(name):
        detail = f"{name!r} is no valid volume name: it has a control character"
        raise ConfError("operation_invalid", detail, "volume/name")


def _check_compat(volume: Volume) -> None:
    target = volume.target
    # Raw files are made without qemu-img, and libvirt does not look at what is for qemu-img.
    if target.format == "qcow2" or (target.format == "raw" and target.encryption is None):
        return
    if target.compat:
        detail = "compatibility option only available with qcow2"
        raise ConfError("config_unsupported", detail, "target/compat")


def _check_backing(volume: Volume) -> None:
    volume_format, backing = volume.target.format, volume.backing_store
    if backing is None or volume_format in WITH_BACKING:
        return
    if volume_format == "raw":
        detail = "backing storage not supported for raw volumes"
        raise ConfError("no_support", detail, "volume/backingStore")
    if volume_format == "iso":  # raw to qemu-img
        detail = "cannot set backing store for raw volume"
        raise ConfError("config_unsupported", detail, "volume/backingStore")
    detail = f"volumes of format '{volume_format}' do not support a backing store; use qcow2"
    raise ConfError("internal", detail, "volume/backingStore")  # as when qemu-img refuses it


def _check_features(volume: Volume) -> None:
    target = volume.target
    if target.format != "qcow2" or target.compat != "0.10":
        return
    for feature, requested in (
        ("lazy_refcounts", target.lazy_refcounts),
        ("extended_l2", target.extended_l2),
    ):
        if requested:
            detail = f"{feature} not supported with compat level 0.10"
            raise ConfError("config_unsupported", detail, "target/features")


def _check_encryption(volume: Volume) -> None:
    encryption = volume.target.encryption
    if encryption is None:
        return
    volume_format = volume.target.format
    if volume_format not in ("raw", "qcow", "qcow2"):
        detail = (
            f"volumes of format '{volume_format}' cannot be encrypted; take raw or qcow2 with luks"
        )
        raise ConfError("config_unsupported", detail, "target/encryption")
    if encryption.format in ("default", "luks2") or (
        encryption.format == "qcow" and volume_format == "raw"
    ):
        detail = f"a new volume of format '{volume_format}' cannot have the encryption format "
        detail += f"'{encryption.format}'; take luks"
        raise ConfError("config_unsupported", detail, "target/encryption/@format")
    if len(encryption.secrets) != 1:
        detail = "A single <secret type='passphrase'...> element is expected in encryption "
        detail += "description"
        raise ConfError("invalid_arg", detail, "target/encryption")
