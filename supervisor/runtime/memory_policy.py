"""The kernel's memory policy of a process: from which NUMA nodes its memory comes.

Owns: setting this thread's policy while a child is made, which inherits it.
Source: set_mempolicy(2); linux/mempolicy.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

#: set_mempolicy's number; libc has no function for it.
SYSCALLS: Final = {
    "x86_64": 238,
    "aarch64": 237,
    "riscv64": 237,
    "loongarch64": 237,
    "ppc64le": 261,
    "s390x": 270,
    "armv7l": 321,
    "i686": 276,
}
LONG_BITS: Final = 8 * ctypes.sizeof(ctypes.c_ulong)


class Mode(IntEnum):
    """MPOL_… of linux/mempolicy.h."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3


class MemoryPolicyError(Exception):
    """The kernel refuses a policy."""


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """A policy and its nodes."""

    mode: Mode
    nodes: frozenset[int]


@contextlib.contextmanager
def own_memory_policy(policy: MemoryPolicy | None) -> Iterator[None]:
    """Have this thread's policy while a child is made, and the kernel's again afterwards.

    Raises:
        MemoryPolicyError: the kernel has no such node, or no NUMA.
    """
    if policy is None:
        yield
        return
    try:
        _set(policy)
    except OSError as error:
        nodes = ",".join(str(node) for node in sorted(policy.nodes))
        raise MemoryPolicyError(
            f"unable to set memory policy for nodes {nodes}: {error}"
        ) from error
    try:
        yield
    finally:
        _set(MemoryPolicy(Mode.DEFAULT, frozenset()))


def _set(policy: MemoryPolicy) -> None:
    number = SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"no memory policy can be set on {platform.machine()}")
    mask = node_mask(policy.nodes)
    # The kernel reads one bit less than it is told: maxnode counts from 1.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, int(policy.mode), mask, len(mask) * LONG_BITS + 1) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def node_mask(nodes: frozenset[int]) -> ctypes.Array[ctypes.c_ulong]:
    """Make the kernel's mask of nodes."""
    words = max(nodes, default=0) // LONG_BITS + 1
    mask = (ctypes.c_ulong * words)()
    for node in nodes:
        mask[node // LONG_BITS] |= 1 << (node % LONG_BITS)
    return mask
