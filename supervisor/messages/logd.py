"""Requests to logd: pipes for what a guest, or a program that serves it, prints.

Sent by workers alone.
"""

from __future__ import annotations

import msgspec

from ipc import Descriptor, Request


class LogOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The writing end of the pipe; the receiver closes it."""

    end: Descriptor


class OpenLog(Request[LogOpened], frozen=True, kw_only=True, tag="logd.open_log"):
    """Open a file, and a pipe whose reading end logd writes to it.

    The pipe is logd's until its last writer closes it; it outlives the worker and logd.
    Errors: SYSTEM_ERROR naming the file: it cannot be opened, or another pipe writes it (EBUSY).
    """

    deadline_s = 20.0  # a logd that hangs is replaced after 10 s
    domain: str  # the guest's name, for messages
    path: str
    truncate: bool = False  # the file and its rotated ones are removed first


class LogOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The last 4 KiB, or less, of what came through a pipe."""

    text: bytes


class ReadLog(Request[LogOutput], frozen=True, kw_only=True, tag="logd.read_log"):
    """Read the end of what came through the pipe of a file since it was opened.

    What is in the pipe is written first. Nothing for a file that no pipe writes any more.
    """

    deadline_s = 5.0
    path: str
