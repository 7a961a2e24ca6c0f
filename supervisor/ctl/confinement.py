"""What AppArmor confines a guest to, for `virtvisorctl takeover --check`.

Owns: that question. May touch: /proc, to read. Changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
#: The first is there since Linux 5.8; the second is another security module's where two are on.
LABELS: Final = ("attr/apparmor/current", "attr/current")
#: The profiles that libvirt makes for its guests, one for each: libvirt-UUID.
PREFIX: Final = "libvirt-"


def guest_profile(pid: int) -> str:
    """Return the name of libvirt's profile that confines a guest; "": none does.

    Args:
        pid: the number of its QEMU.
    """
    for name in LABELS:
        try:
            label = (PROC / str(pid) / name).read_text()
        except OSError:
            continue
        profile, _, mode = label.strip("\0\n").partition(" ")
        if profile.startswith(PREFIX) and mode == "(enforce)":
            return profile
    return ""
