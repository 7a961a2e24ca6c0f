"""The BPF program that lets the processes of a cgroup open some devices alone."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.runtime import device_filter
from supervisor.runtime.device_filter import (
    ALLOW_MULTI,
    AND_NUMBER,
    ATTACH,
    CGROUP_DEVICE,
    EXIT,
    JUMP_UNLESS,
    LOAD_WORD,
    MOVE,
    MOVE_NUMBER,
    PROG_ATTACH,
    SHIFT_RIGHT,
    DeviceRule,
    attach_filter,
    attached_filters,
    load_filter,
    program,
)
from supervisor.workers.cgroups.hierarchies import UNIFIED, layout

NULL, ZERO = DeviceRule("c", 1, 3), DeviceRule("c", 1, 5)
READ, WRITE, MKNOD = 2, 4, 1


def run(code: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """Execute the program as the kernel does: the instructions that it has."""
    words = [access << 16 | kind, major, minor]
    registers = [0] * 11
    at = 0
    while True:
        operation, both, offset, number = struct.unpack_from("=BBhi", code, at * 8)
        target, source = both & 15, both >> 4
        at += 1
        match operation:
            case _ if operation == LOAD_WORD:
                registers[target] = words[offset // 4]
            case _ if operation == MOVE:
                registers[target] = registers[source]
            case _ if operation == MOVE_NUMBER:
                registers[target] = number
            case _ if operation == AND_NUMBER:
                registers[target] &= number
            case _ if operation == SHIFT_RIGHT:
                registers[target] >>= number
            case _ if operation == JUMP_UNLESS:
                at += offset if registers[target] != number else 0
            case _ if operation == EXIT:
                return registers[0]
            case _:
                raise AssertionError(f"instruction {operation:#x}")


@pytest.mark.parametrize(
    ("kind", "access", "major", "minor", "allowed"),
    [
        (2, READ, 1, 3, 1),
        (2, READ | WRITE, 1, 3, 1),
        (2, MKNOD, 1, 3, 0),
        (2, MKNOD | READ, 1, 3, 0),
        (1, READ, 1, 3, 0),  # a block device of the same numbers
        (2, READ, 1, 4, 0),
        (2, READ, 136, 0, 1),
        (2, READ, 136, 99, 1),
        (1, WRITE, 8, 1, 1),
        (1, WRITE, 8, 2, 0),
        (2, READ, 10, 200, 0),
    ],
)
def test_what_a_rule_names_is_allowed_and_nothing_else(
    kind: int, access: int, major: int, minor: int, allowed: int
) -> None:
    rules = [NULL, DeviceRule("c", 136), DeviceRule("b", 8, 1)]
    assert run(program(rules), kind, access, major, minor) == allowed
    assert run(program([]), kind, access, major, minor) == 0


def test_rules_are_written_as_version_1_reads_them() -> None:
    assert [str(rule) for rule in (NULL, DeviceRule("c", 136))] == ["c 1:3 rw", "c 136:* rw"]


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of version 2 of this host."""
    root = layout().hierarchies.get(UNIFIED)
    if root is None or os.geteuid() != 0:
        pytest.skip("needs root and version 2 of cgroups")
    folder = root / f"virtvisor-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    yield folder
    folder.rmdir()


def opened(group: Path, *paths: str) -> list[bool]:
    """Which of the paths a process in the group can open."""
    child = os.fork()
    if child == 0:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        bits = 0
        for place, path in enumerate(paths):
            try:
                os.close(os.open(path, os.O_RDONLY))
            except OSError:
                continue
            bits |= 1 << place
        os._exit(bits)
    _, status = os.waitpid(child, 0)
    return [bool(os.waitstatus_to_exitcode(status) >> place & 1) for place in range(len(paths))]


def test_the_kernel_takes_the_program_and_another_in_its_place(group: Path) -> None:
    try:
        attach_filter(group, [NULL])
    except OSError as error:
        pytest.skip(f"this kernel lets us load no BPF program: {error}")
    assert opened(group, "/dev/null", "/dev/zero") == [True, False]
    attach_filter(group, [NULL, ZERO])
    assert opened(group, "/dev/null", "/dev/zero") == [True, True]
    attach_filter(group, [])
    assert opened(group, "/dev/null", "/dev/zero") == [False, False]


def test_filters_of_libvirts_daemon_are_replaced_without_a_gap(group: Path) -> None:
    folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for rules in ([NULL], [NULL, ZERO]):  # each of them must agree
            try:
                filter_fd = load_filter(rules)
            except OSError as error:
                pytest.skip(f"this kernel lets us load no BPF program: {error}")
            attach = ATTACH.pack(folder, filter_fd, CGROUP_DEVICE, ALLOW_MULTI)
            device_filter._bpf(PROG_ATTACH, attach)
            os.close(filter_fd)
        assert opened(group, "/dev/null", "/dev/zero") == [True, False]
        for _ in range(2):
            attach_filter(group, [ZERO])
            assert opened(group, "/dev/null", "/dev/zero") == [False, True]
            flags, numbers = attached_filters(folder)
            assert (flags & ALLOW_MULTI, len(numbers)) == (ALLOW_MULTI, 1)
    finally:
        os.close(folder)
