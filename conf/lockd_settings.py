"""qemu-lockd.conf: how guests lock their images with `lock_manager = "lockd"`.

Owns: `LockdConfig` and what a value may be. May not touch: files; the caller reads them.
Source: qemu-lockd.conf of Debian's libvirt 9.0.
"""

from __future__ import annotations

import msgspec

from conf.errors import ConfError

#: Lock files named by what only LVM's and SCSI's own programs know of a device.
UNSUPPORTED: tuple[str, ...] = ("lvm_lockspace_dir", "scsi_lockspace_dir")


class LockdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """qemu-lockd.conf."""

    auto_disk_leases: bool = True  # lock every image that a guest writes to
    require_lease_for_disks: bool | None = None  # None: not where they are locked automatically
    file_lockspace_dir: str = ""  # "": the images themselves are locked
    lvm_lockspace_dir: str = ""
    scsi_lockspace_dir: str = ""

    @property
    def requires_leases(self) -> bool:
        """Whether a guest that writes to a disk needs a <lease>."""
        if self.require_lease_for_disks is None:
            return not self.auto_disk_leases
        return self.require_lease_for_disks


def check_lockd_config(config: LockdConfig, origin: str) -> LockdConfig:
    """Refuse what is not there, and what can be no folder.

    Raises:
        ConfError: kind "conf_syntax".
    """
    for name in UNSUPPORTED:
        if getattr(config, name):
            detail = f"{origin}: {name} is not supported; file_lockspace_dir serves devices, too"
            raise ConfError("conf_syntax", detail, origin)
    if config.file_lockspace_dir and not config.file_lockspace_dir.startswith("/"):
        detail = f"{origin}: file_lockspace_dir must be an absolute path"
        raise ConfError("conf_syntax", detail, origin)
    return config
