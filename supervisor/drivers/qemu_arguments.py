"""Arguments that QEMU's calls refuse before they look for the domain.

Owns: those checks. Pure: domd makes them when it forwards a call to the domain's worker, so that a
domain that is off refuses them, too.
Source: libvirt 9.0, libvirt-domain.c and the heads of qemu_driver's functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rpc.enums import DomainAuthorizedSSHKeysSetFlags as KeysFlags
from rpc.enums import DomainBlockResizeFlags, DomainGuestInfoTypes, NodeSuspendTarget
from rpc.errors import ErrorCode, ErrorDomain, VirError

ALL_TYPES: Final = sum(DomainGuestInfoTypes)
LARGEST_KIB: Final = ((1 << 64) - 1) // 1024
LONGEST_PERIOD_S: Final = 60
CHANGES: Final = KeysFlags.APPEND | KeysFlags.REMOVE


def check_guest_info(types: int, flags: int) -> None:
    """Refuse types of guest information that do not exist."""
    unknown = types & ~ALL_TYPES
    if unknown:
        raise _invalid(f"unsupported guest information types '{unknown:#x}'")


def check_pm_suspend(target: int, duration: int, flags: int) -> None:
    """Refuse a limited sleep, and targets that do not exist."""
    if duration:
        raise _unsupported("Duration not supported. Use 0 for now")
    if target not in list(NodeSuspendTarget):
        raise _invalid(f"Unknown suspend target: {target}")


def check_user_password(user: str | None, password: str | None, flags: int) -> None:
    """Refuse a user or password that is not given."""
    for name, value in (("user", user), ("password", password)):
        if value is None:
            raise _invalid(f"{name} in virDomainSetUserPassword must not be NULL")


def check_authorized_keys(user: str, keys: list[str], flags: int) -> None:
    """Refuse to append or remove no keys."""
    if flags & CHANGES and not keys:
        raise _invalid("keys in virDomainAuthorizedSSHKeysSet must not be NULL")


def check_thaw(mountpoints: list[str], flags: int) -> None:
    """Refuse to thaw only some file systems."""
    if mountpoints:
        raise _unsupported("specifying mountpoints is not supported")


def check_trim(mount_point: str | None, minimum: int, flags: int) -> None:
    """Refuse to trim only one file system."""
    if mount_point is not None:
        raise _unsupported("Specifying mount point is not supported for now")


def check_resize(disk: str, size: int, flags: int) -> None:
    """Refuse a size in KiB that has no number of bytes."""
    if not flags & DomainBlockResizeFlags.BYTES and size > LARGEST_KIB:
        detail = f"size must be less than {LARGEST_KIB}"
        raise VirError(ErrorCode.OVERFLOW, detail, ErrorDomain.QEMU)


def check_dirty_rate(seconds: int, flags: int) -> None:
    """Refuse a period that QEMU does not measure."""
    if not 1 <= seconds <= LONGEST_PERIOD_S:
        detail = (
            f"seconds={seconds} is invalid, please choose value within [1, {LONGEST_PERIOD_S}]."
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)


#: By procedure; each gets its arguments after the domain, and raises INVALID_ARG or
#: the code that libvirt has for the case.
ARGUMENT_CHECKS: Final[Mapping[str, Callable[..., None]]] = {
    "domain_get_guest_info": check_guest_info,
    "domain_pm_suspend_for_duration": check_pm_suspend,
    "domain_set_user_password": check_user_password,
    "domain_authorized_ssh_keys_set": check_authorized_keys,
    "domain_fsthaw": check_thaw,
    "domain_fstrim": check_trim,
    "domain_block_resize": check_resize,
    "domain_start_dirty_rate_calc": check_dirty_rate,
}


def _invalid(detail: str) -> VirError:
    return VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)


def _unsupported(detail: str) -> VirError:
    return VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail, ErrorDomain.QEMU)
