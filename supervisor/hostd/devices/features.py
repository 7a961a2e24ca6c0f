"""What a network interface does in hardware, asked of the kernel by ioctl.

Owns: those questions. May touch: a socket of its own, to ask.
Source: ethtool(8), linux/ethtool.h; libvirt 9.0 virNetDevGetFeatures.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

SIOCETHTOOL: Final = 0x8946
NAME_SIZE: Final = 15
#: Commands that tell of one feature, and its name.
COMMANDS: Final = (
    (0x14, "rx"), (0x16, "tx"), (0x18, "sg"), (0x1E, "tso"), (0x23, "gso"), (0x2B, "gro"),
)  # fmt: skip
GET_FLAGS: Final = 0x25
#: Bits of the flags.
FLAGS: Final = (
    (1 << 15, "lro"), (1 << 8, "rxvlan"), (1 << 7, "txvlan"), (1 << 27, "ntuple"),
    (1 << 28, "rxhash"),
)  # fmt: skip


def features(name: str) -> list[str]:
    """List the features that are on, by libvirt's names; none of an interface that is gone."""
    try:
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    except OSError:
        return []
    with channel:
        on = [feature for command, feature in COMMANDS if _ask(channel, name, command)]
        flags = _ask(channel, name, GET_FLAGS)
        return on + [feature for bit, feature in FLAGS if flags & bit]


def _ask(channel: socket.socket, name: str, command: int) -> int:
    """Ask for one value; 0 where the interface does not tell."""
    value = array.array("I", (command, 0))  # struct ethtool_value
    pointer, _ = value.buffer_info()
    request = struct.pack("16sP16x", name.encode()[:NAME_SIZE], pointer)  # struct ifreq
    try:
        fcntl.ioctl(channel, SIOCETHTOOL, request)
    except OSError:
        return 0
    return value[1]
