"""What KVM counts of a guest in debugfs.

Owns: reading it. May touch: /sys/kernel/debug/kvm, to read.
Source: Linux, Documentation/virt/kvm/halt-polling; libvirt 9.0, virHostCPUGetHaltPollTime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

KVM: Final = Path("/sys/kernel/debug/kvm")
FILES: Final = ("halt_poll_success_ns", "halt_poll_fail_ns")


def halt_poll_times(pid: int, folder: Path = KVM) -> tuple[int, int]:
    """Read how long a guest's idle vCPUs were polled for work, with and without success.

    Returns:
        Both in ns; 0 for a guest without KVM, and where debugfs is not mounted.
    """
    try:
        guest = next(folder.glob(f"{pid}-*"), None)
        if guest is None:
            return 0, 0
        success, fail = (int((guest / file).read_text()) for file in FILES)
    except (OSError, ValueError):
        return 0, 0
    return success, fail
