"""A filter of the devices that the processes of a cgroup may open: a BPF program of version 2.

Owns: making such a program, and attaching it. May touch: the kernel's bpf(2).
Source: Linux, Documentation/admin-guide/cgroup-v2, "Device controller"; linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSCALLS: Final = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "ppc64le": 361,
    "s390x": 351,
    "armv7l": 386,
    "i686": 357,
}
PROG_LOAD: Final = 5
PROG_ATTACH: Final = 8
PROG_DETACH: Final = 9
PROG_FD_BY_ID: Final = 13
PROG_QUERY: Final = 16
ALLOW_MULTI: Final = 2  # BPF_F_ALLOW_MULTI: of several filters each must agree
MAX_PROGRAMS: Final = 64  # BPF_CGROUP_MAX_PROGS
CGROUP_DEVICE_PROGRAM: Final = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
CGROUP_DEVICE: Final = 6  # BPF_CGROUP_DEVICE
LOAD: Final = struct.Struct("=IIQQIIQII16sII")  # of union bpf_attr
ATTACH: Final = struct.Struct("=IIII")
QUERY: Final = struct.Struct("=IIIIQI4x")
BY_ID: Final = struct.Struct("=III")
BLOCK, CHARACTER = 1, 2  # BPF_DEVCG_DEV_…
READ_WRITE: Final = 2 | 4  # BPF_DEVCG_ACC_READ, _WRITE

# Instructions of linux/bpf_common.h.
LOAD_WORD: Final = 0x61
MOVE: Final = 0xBF
MOVE_NUMBER: Final = 0xB7
AND_NUMBER: Final = 0x57
SHIFT_RIGHT: Final = 0x77
JUMP_UNLESS: Final = 0x55
EXIT: Final = 0x95
RESULT, CONTEXT, KIND, ACCESS, MAJOR, MINOR, REST = range(7)  # registers 0 to 6


@dataclass(frozen=True, slots=True, order=True)
class DeviceRule:
    """A device that may be read and written."""

    kind: str  # "b" or "c"
    major: int
    minor: int | None = None  # None: every one

    def __str__(self) -> str:
        """Format it as version 1 of the device controller reads it."""
        return f"{self.kind} {self.major}:{'*' if self.minor is None else self.minor} rw"


def program(rules: Iterable[DeviceRule]) -> bytes:
    """Make the program that allows these devices alone, and no mknod.

    Its context is struct bpf_cgroup_dev_ctx: the access and the kind in one word, major, minor.
    """
    code = [
        _instruction(LOAD_WORD, KIND, CONTEXT, offset=0),
        _instruction(LOAD_WORD, MAJOR, CONTEXT, offset=4),
        _instruction(LOAD_WORD, MINOR, CONTEXT, offset=8),
        _instruction(MOVE, ACCESS, KIND),
        _instruction(AND_NUMBER, KIND, number=0xFFFF),
        _instruction(SHIFT_RIGHT, ACCESS, number=16),
        _instruction(AND_NUMBER, ACCESS, number=~READ_WRITE),
    ]
    for rule in sorted(rules, key=str):
        checks = [(KIND, BLOCK if rule.kind == "b" else CHARACTER), (MAJOR, rule.major)]
        if rule.minor is not None:
            checks.append((MINOR, rule.minor))
        checks.append((ACCESS, 0))
        for place, (register, number) in enumerate(checks):
            behind = len(checks) - place - 1 + 2  # the other checks, and the two that allow
            code.append(_instruction(JUMP_UNLESS, register, offset=behind, number=number))
        code += [_instruction(MOVE_NUMBER, RESULT, number=1), _instruction(EXIT)]
    code += [_instruction(MOVE_NUMBER, RESULT, number=0), _instruction(EXIT)]
    return b"".join(code)


def _instruction(
    operation: int, target: int = 0, source: int = 0, *, offset: int = 0, number: int = 0
) -> bytes:
    return struct.pack("=BBhi", operation, source << 4 | target, offset, number)


def load_filter(rules: Iterable[DeviceRule]) -> int:
    """Load a filter into the kernel; return its descriptor.

    Raises:
        OSError: the kernel has no such filter, or does not let us load one.
    """
    code = ctypes.create_string_buffer(program(rules))
    size = len(code) - 1  # without the NUL that ends a string
    licence = ctypes.create_string_buffer(b"GPL")
    load = LOAD.pack(
        CGROUP_DEVICE_PROGRAM, size // 8, ctypes.addressof(code), ctypes.addressof(licence),
        0, 0, 0, 0, 0, b"virtvisor", 0, CGROUP_DEVICE,
    )  # fmt: skip
    return _bpf(PROG_LOAD, load)


def attach_filter(group: Path, rules: Iterable[DeviceRule]) -> None:
    """Let the processes of a group open these devices alone; an earlier filter is replaced.

    libvirt's daemon attaches its own so that others may be added. Then ours is in force before
    libvirt's is detached: at no time can everything be opened.

    Raises:
        OSError: the kernel has no such filter, or does not let us attach one.
    """
    filter_fd = load_filter(rules)
    try:
        folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags, earlier = attached_filters(folder)
            flags &= ALLOW_MULTI
            _bpf(PROG_ATTACH, ATTACH.pack(folder, filter_fd, CGROUP_DEVICE, flags))
            for number in earlier if flags else ():
                _detach(folder, number)
        finally:
            os.close(folder)
    finally:
        os.close(filter_fd)  # the group keeps the program


def attached_filters(folder: int) -> tuple[int, list[int]]:
    """Return the flags with which a group's filters are attached, and the filters' numbers.

    Raises:
        OSError: the kernel does not say.
    """
    numbers = (ctypes.c_uint32 * MAX_PROGRAMS)()
    query = QUERY.pack(folder, CGROUP_DEVICE, 0, 0, ctypes.addressof(numbers), MAX_PROGRAMS)
    buffer = ctypes.create_string_buffer(query, len(query))
    _call(PROG_QUERY, buffer)
    *_, flags, _, count = QUERY.unpack(buffer.raw)
    return flags, list(numbers)[: min(count, MAX_PROGRAMS)]


def _detach(folder: int, number: int) -> None:
    program_fd = _bpf(PROG_FD_BY_ID, BY_ID.pack(number, 0, 0))
    try:
        _bpf(PROG_DETACH, ATTACH.pack(folder, program_fd, CGROUP_DEVICE, 0))
    finally:
        os.close(program_fd)


def _bpf(command: int, attributes: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _call(command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    number = SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"no BPF program can be loaded on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, command, buffer, len(buffer)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
