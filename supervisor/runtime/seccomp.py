"""Filters of system calls: a program for the kernel that answers some of them with EPERM.

Owns: that program, and giving it to the kernel for the calling process.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst, linux/audit.h, linux/bpf_common.h.

A list of what is denied (`assemble`) is for processes whose programs are others' as well: such a
call fails as without a privilege, which every program handles. A list of what is allowed
(`assemble_allowed`) is for rpcd. The kernel (5.11 on) remembers which calls a filter always allows,
so they cost nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from supervisor.runtime.allowed_syscalls import (
    AF_UNIX,
    ALLOWED,
    FATAL,
    NEWEST,
    ArgumentRule,
    argument_rules,
)
from supervisor.runtime.syscalls import NUMBERS, SYSCALLS, SyscallGroup

PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
RET_ALLOW: Final = 0x7FFF0000
RET_KILL: Final = 0x80000000  # the process, by SIGSYS (Linux 4.14)
RET_EPERM: Final = 0x00050000 | errno.EPERM
RET_ENOSYS: Final = 0x00050000 | errno.ENOSYS
LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K
NUMBER_AT: Final = 0  # of struct seccomp_data
FIRST_ARGUMENT_AT: Final = 16  # its lower half, as these machines are little-endian
ARGUMENT: Final = 8  # bytes of each
MACHINE_AT: Final = 4
INSTRUCTION: Final = struct.Struct("=HBBI")
NEW_NAMESPACES: Final = 0x7E020000  # CLONE_NEW… of linux/sched.h
MAX_JUMP: Final = 255
X32: Final = 0x40000000  # numbers of x86_64's third set of system calls begin there


@dataclass(frozen=True, slots=True)
class Machine:
    """What a filter needs to know of an architecture."""

    audit: int  # AUDIT_ARCH_…
    column: int  # of NUMBERS
    has_x32: bool = False


MACHINES: Final = {
    "x86_64": Machine(0xC000003E, 0, has_x32=True),
    "aarch64": Machine(0xC00000B7, 1),
    "riscv64": Machine(0xC00000F3, 1),
    "loongarch64": Machine(0xC0000102, 1),
}


def denied_numbers(groups: Iterable[SyscallGroup], machine: Machine) -> list[int]:
    """List the numbers of the calls of some groups."""
    names = {name for group in groups for name in SYSCALLS[group]}
    return sorted({NUMBERS[name][machine.column] for name in names} - {-1})


def assemble(groups: Iterable[SyscallGroup], machine: Machine) -> bytes:
    """Make the program that denies the calls of some groups, and all of other architectures.

    A process may call the kernel in the way of a 32-bit program, where numbers mean other calls.
    """
    wanted = set(groups)
    numbers = denied_numbers(wanted, machine)
    by_argument: list[bytes] = []
    if SyscallGroup.INET in wanted:
        by_argument += _unix_sockets(machine)
    if SyscallGroup.NAMESPACES in wanted:
        by_argument += _clones(machine)
    checks = [INSTRUCTION.pack(LOAD_WORD, 0, 0, NUMBER_AT)]
    tests = [(JUMP_AT_LEAST, X32)] if machine.has_x32 else []
    tests += [(JUMP_EQUAL, number) for number in numbers]
    for position, (code, value) in enumerate(tests):
        to_denial = len(tests) - position  # over the other tests and the permission
        checks.append(INSTRUCTION.pack(code, to_denial, 0, value))
    if len(tests) > MAX_JUMP:
        raise ValueError(f"a filter of {len(tests)} calls is too long")
    return b"".join(
        (
            INSTRUCTION.pack(LOAD_WORD, 0, 0, MACHINE_AT),
            INSTRUCTION.pack(JUMP_EQUAL, 1, 0, machine.audit),
            INSTRUCTION.pack(RETURN, 0, 0, RET_EPERM),
            *by_argument,
            *checks,
            INSTRUCTION.pack(RETURN, 0, 0, RET_ALLOW),
            INSTRUCTION.pack(RETURN, 0, 0, RET_EPERM),
        )
    )


def _unix_sockets(machine: Machine) -> list[bytes]:
    """Deny socket(2) but for Unix sockets, by which users and groups are looked up, too."""
    return [
        INSTRUCTION.pack(LOAD_WORD, 0, 0, NUMBER_AT),
        INSTRUCTION.pack(JUMP_EQUAL, 0, 3, NUMBERS["socket"][machine.column]),
        INSTRUCTION.pack(LOAD_WORD, 0, 0, FIRST_ARGUMENT_AT),
        INSTRUCTION.pack(JUMP_EQUAL, 1, 0, AF_UNIX),
        INSTRUCTION.pack(RETURN, 0, 0, RET_EPERM),
    ]


def _clones(machine: Machine) -> list[bytes]:
    """Deny clone(2) new namespaces.

    The flags of clone3(2) are in memory, which a filter cannot read: to libc it is not there, and
    it calls clone(2).
    """
    return [
        INSTRUCTION.pack(LOAD_WORD, 0, 0, NUMBER_AT),
        INSTRUCTION.pack(JUMP_EQUAL, 0, 1, NUMBERS["clone3"][machine.column]),
        INSTRUCTION.pack(RETURN, 0, 0, RET_ENOSYS),
        INSTRUCTION.pack(JUMP_EQUAL, 0, 3, NUMBERS["clone"][machine.column]),
        INSTRUCTION.pack(LOAD_WORD, 0, 0, FIRST_ARGUMENT_AT),
        INSTRUCTION.pack(JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES),
        INSTRUCTION.pack(RETURN, 0, 0, RET_EPERM),
    ]


def assemble_allowed(machine: Machine, own_pid: int) -> bytes:
    """Make the program that allows rpcd's calls alone.

    Args:
        machine: the architecture.
        own_pid: of the process.
    """
    rules = argument_rules(own_pid)
    by_argument = [block for rule in rules for block in _argument_rule(rule, machine)]
    ruled = {rule.call for rule in rules}
    allowed = [numbers[machine.column] for name, numbers in ALLOWED.items() if name not in ruled]
    tests = [(JUMP_EQUAL, number, RET_ALLOW) for number in allowed if number >= 0]
    if machine.has_x32:
        tests.insert(0, (JUMP_AT_LEAST, X32, RET_KILL))
    tests += [(JUMP_EQUAL, number, RET_KILL) for number in denied_numbers(FATAL, machine)]
    tests.append((JUMP_EQUAL, NUMBERS["clone3"][machine.column], RET_ENOSYS))
    tests.append((JUMP_AT_LEAST, NEWEST + 1, RET_ENOSYS))
    # The results stand behind the tests, as far as a jump reaches.
    results = (RET_EPERM, RET_ALLOW, RET_KILL, RET_ENOSYS)
    if len(tests) + len(results) > MAX_JUMP:
        raise ValueError(f"a filter of {len(tests)} calls is too long")
    checks = [
        INSTRUCTION.pack(code, len(tests) - place - 1 + results.index(result), 0, value)
        for place, (code, value, result) in enumerate(tests)
    ]
    return b"".join(
        (
            INSTRUCTION.pack(LOAD_WORD, 0, 0, MACHINE_AT),
            INSTRUCTION.pack(JUMP_EQUAL, 1, 0, machine.audit),
            INSTRUCTION.pack(RETURN, 0, 0, RET_KILL),
            *by_argument,
            INSTRUCTION.pack(LOAD_WORD, 0, 0, NUMBER_AT),
            *checks,
            *(INSTRUCTION.pack(RETURN, 0, 0, result) for result in results),
        )
    )


def _argument_rule(rule: ArgumentRule, machine: Machine) -> list[bytes]:
    """Allow a call by one of its arguments."""
    number = ALLOWED[rule.call][machine.column]
    if number < 0:
        return []
    if rule.only:
        last = len(rule.only)
        tests = [(JUMP_EQUAL, last - place, 0, value) for place, value in enumerate(rule.only)]
    elif rule.without:
        tests = [(JUMP_ANY_BIT, 0, 1, rule.without)]
    else:
        tests = [(JUMP_ANY_BIT, 1, 0, rule.including)]
    block = [
        INSTRUCTION.pack(LOAD_WORD, 0, 0, FIRST_ARGUMENT_AT + ARGUMENT * rule.argument),
        *(INSTRUCTION.pack(*test) for test in tests),
        INSTRUCTION.pack(RETURN, 0, 0, RET_EPERM),
        INSTRUCTION.pack(RETURN, 0, 0, RET_ALLOW),
    ]
    return [
        INSTRUCTION.pack(LOAD_WORD, 0, 0, NUMBER_AT),
        INSTRUCTION.pack(JUMP_EQUAL, 0, len(block), number),
        *block,
    ]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def deny(groups: Iterable[SyscallGroup]) -> None:
    """Have the kernel deny calls to this process and to its children, for good.

    It must have one thread, and no new privileges.

    Raises:
        OSError: the kernel has no filters; ENOSYS: the numbers of this architecture are not known.
    """
    _load(assemble(groups, _own_machine()))


def allow_only_listed() -> None:
    """Have the kernel allow this process the calls of rpcd alone, for good.

    It must have one thread, and no new privileges.

    Raises:
        OSError: as `deny`.
    """
    _load(assemble_allowed(_own_machine(), os.getpid()))


def _own_machine() -> Machine:
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no numbers are known for {platform.machine()}")
    return machine


def _load(code: bytes) -> None:
    program = _Program(len(code) // INSTRUCTION.size, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
