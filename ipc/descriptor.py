"""A file descriptor as a field of a message.

Owns: one descriptor, until it is taken, sent or closed.
"""

from __future__ import annotations

import os


class Descriptor:
    """A file descriptor that crosses the bus with its message.

    The sender's is closed once the message is out; the receiver owns its copy and must take or
    close it. Forgotten ones are closed when they are collected.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Take the descriptor over."""
        self._fd = fd

    def fileno(self) -> int:
        """Look at it; it stays ours.

        Raises:
            ValueError: it has been taken or closed.
        """
        if self._fd < 0:
            raise ValueError("this descriptor has been taken or closed")
        return self._fd

    def take(self) -> int:
        """Hand it to the caller, who closes it.

        Raises:
            ValueError: it has been taken or closed.
        """
        fd = self.fileno()
        self._fd = -1
        return fd

    def close(self) -> None:
        """Close it, if it is still ours."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
