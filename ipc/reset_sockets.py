"""Reading sockets whose peer has died with bytes unread. Pure but for the socket's error.

Such a socket has an error pending (ECONNRESET) beside the bytes that are left to read. uvloop then
calls its reader once and forgets it: who reads a part at a time would never learn of the end, and
keep the socket for ever.
"""

from __future__ import annotations

import socket


def take_reset(end: socket.socket) -> bool:
    """Take a pending error, after a read: whether there was one.

    The reader must then be added again in the next turn of the loop; what is left is read as usual,
    and the end after it.
    """
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
