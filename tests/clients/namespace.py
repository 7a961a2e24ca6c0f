"""Namespaces of a test's own: the machine's network, packet filter and mounts stay as they are.

Owns: the namespaces that this thread is in while a context lasts.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
CLONE_NEWNS: Final = 0x00020000


@contextmanager
def own_network() -> Iterator[None]:
    """Be in a new network namespace; children started from this thread are, too."""
    with _own(CLONE_NEWNET, "net"):
        yield


@contextmanager
def own_mounts() -> Iterator[None]:
    """Be in a new mount namespace; what is mounted there is seen nowhere else, and goes with it."""
    folder = Path.cwd()
    with _own(CLONE_NEWNS, "mnt"):
        shown("mount", "--make-rprivate", "/")
        yield
    os.chdir(folder)


@contextmanager
def _own(kind: int, name: str) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(kind) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            yield
        finally:
            if libc.setns(before, kind) != 0:
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)


def shown(*argv: str) -> str:
    """What a program prints."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
