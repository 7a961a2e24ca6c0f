"""The user and groups that emulators run as, which also own guests' files.

Owns: the choice among qemu.conf, the domain's label and the host's users. May touch: the user
database, to read.
Source: libvirt 9.0, virQEMUDriverConfigNew, virGetGroupList.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass
from typing import Final

from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError


@dataclass(frozen=True, slots=True)
class User:
    """The user and group that the emulator runs as."""

    uid: int
    gid: int
    name: str
    groups: tuple[int, ...] = ()  # of its processes; (): those of the user database
    is_dynamic: bool = False  # one guest's alone

    @property
    def is_own(self) -> bool:
        """Whether it is the daemon's own: no file changes its owner then."""
        return self.uid == os.geteuid()


OWN: Final = User(os.geteuid(), os.getegid(), "")
DEFAULT_USER: Final = "libvirt-qemu"  # Debian's; its group has the same name
#: The number that Debian reserves for that user and group (base-passwd, "users and groups").
#: Where nobody has it, it is a user of QEMU's own without being in any file.
RESERVED_ID: Final = 64055
KVM_GROUP: Final = "kvm"  # may open /dev/kvm


def emulator_user(config: QemuConfig, label: str = "") -> User:
    """Choose the user that an emulator runs as.

    Args:
        config: qemu.conf; where it names none, libvirt-qemu, by Debian's number for it on a host
            that does not have it. It is root only where qemu.conf or the label says so.
        label: the DAC label "USER:GROUP" of the domain's XML, which takes precedence.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host does not have the named user or group, or without
            libvirt-qemu another user has its number.
    """
    own = User(os.geteuid(), os.getegid(), "")
    if own.uid != 0:
        return own
    user, _, group = label.partition(":") if label else (config.user, "", config.group)
    try:
        return _user(user, group) or _reserved_user(group)
    except (KeyError, ValueError) as error:
        where = f"the label '{label}'" if label else "qemu.conf"
        detail = f"{where} names a user or group that the host does not have: {error}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU) from error


def _user(name: str, group: str) -> User | None:
    if not name:
        try:
            entry = pwd.getpwnam(DEFAULT_USER)
        except KeyError:
            return None
        if not group and _has_group(DEFAULT_USER):
            # Debian's libvirt is built with this group; the user's primary group there is kvm,
            # for /dev/kvm. Images that are chowned to QEMU's user do not become kvm's.
            group = DEFAULT_USER
    elif name.lstrip("+").isdigit():
        number = int(name.lstrip("+"))
        try:
            entry = pwd.getpwuid(number)
        except KeyError:
            return User(number, _gid(group, number), "")
    else:
        entry = pwd.getpwnam(name)
    return User(entry.pw_uid, _gid(group, entry.pw_gid), entry.pw_name)


def is_unnamed_default(user: User) -> bool:
    """Return whether QEMU runs by the reserved number, as the host has no user libvirt-qemu."""
    return not user.name and user.uid == RESERVED_ID


def _reserved_user(group: str) -> User:
    """Make libvirt-qemu without an entry among the host's users.

    Raises:
        VirError: CONFIG_UNSUPPORTED: another user or group has the number.
        KeyError: the host does not have the named group.
    """
    holders: list[str] = []
    with contextlib.suppress(KeyError):
        holders.append(f"user '{pwd.getpwuid(RESERVED_ID).pw_name}'")
    if not group:
        with contextlib.suppress(KeyError):
            holders.append(f"group '{grp.getgrgid(RESERVED_ID).gr_name}'")
    if holders:
        detail = (
            f"this host has no user '{DEFAULT_USER}' for QEMU, and {' and '.join(holders)} has its "
            f"number {RESERVED_ID}; create it (adduser --system --group --no-create-home "
            f'{DEFAULT_USER}), or set user and group in qemu.conf (user = "root" for root)'
        )
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
    return User(RESERVED_ID, _gid(group, RESERVED_ID), "")


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def supplementary_groups(user: User) -> list[int]:
    """Return the groups of an emulator's process: the user's own, and the one that it runs with.

    The user's primary group stays among them when another one is set: it may be kvm.
    """
    if user.groups:
        return list(user.groups)
    if is_unnamed_default(user) and _has_group(KVM_GROUP):
        return [user.gid, grp.getgrnam(KVM_GROUP).gr_gid]
    if not user.name:
        return [user.gid]
    groups = os.getgrouplist(user.name, pwd.getpwnam(user.name).pw_gid)
    return groups if user.gid in groups else [user.gid, *groups]


def _gid(group: str, default: int) -> int:
    if not group:
        return default
    name = group.lstrip("+")
    return int(name) if name.isdigit() else grp.getgrnam(group).gr_gid
