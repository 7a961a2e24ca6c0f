"""The host's architecture in libvirt's words.

Owns: those words. May touch: nothing but what the kernel says of itself.
"""

from __future__ import annotations

import platform
from typing import Final

WORDS: Final = {"i386": "i686", "i586": "i686", "armv7": "armv7l"}


def host_arch() -> str:
    """The host's architecture."""
    machine = platform.machine()
    return WORDS.get(machine, machine)
