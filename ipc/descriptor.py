"""A file descriptor as a field of a message.

Owns: one descriptor, until it is taken, sent or closed.
"""

from __future__ import annotations

import os


class Descriptor:
    """A file descriptor that crosses the bus with its message (SCM_RIGHTS).

    The sender's is closed once the message is sent; the receiver owns its copy and must take or
    close it. One that is neither is closed when it is garbage-collected.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Take ownership of the descriptor; `close` closes it."""
        self._fd = fd

    def fileno(self) -> int:
        """Return the number; the object still owns it.

        Raises:
            ValueError: it has been taken or closed.
        """
        if self._fd < 0:
            raise ValueError("this descriptor has been taken or closed")
        return self._fd

    def take(self) -> int:
        """Return the number, which the caller owns from now on.

        Raises:
            ValueError: it has been taken or closed.
        """
        fd = self.fileno()
        self._fd = -1
        return fd

    def close(self) -> None:
        """Close the descriptor unless it was taken."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
