"""Filters of system calls: what their program decides, and what the kernel makes of them."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.root.confinement import CLONE_NEWNET, Confinement, EmptyNetwork, confine
from supervisor.root.privileges import Privileges
from supervisor.root.roles import AUTHD, LOGD, SERVICES, WORKERS
from supervisor.root.tree import describe_status
from supervisor.runtime.allowed_syscalls import ALLOWED, FATAL, NEWEST, argument_rules
from supervisor.runtime.seccomp import (
    INSTRUCTION,
    MACHINES,
    NEW_NAMESPACES,
    RET_ALLOW,
    RET_ENOSYS,
    RET_EPERM,
    RET_KILL,
    X32,
    Machine,
    assemble,
    assemble_allowed,
    denied_numbers,
)
from supervisor.runtime.syscalls import NUMBERS, SYSCALLS, SyscallGroup

AMD64 = MACHINES["x86_64"]
OWN_PID = 4321
HEADERS = [
    (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), 0),
    (Path("/usr/include/asm-generic/unistd.h"), 1),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's processes are confined")


def decide(program: bytes, number: int, audit: int, argument: int = 0, place: int = 0) -> int:
    """Run a filter as the kernel does: loads, comparisons with constants, returns."""
    code = list(INSTRUCTION.iter_unpack(program))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = {0: number, 4: audit}.get(value, 0)
                if value == 16 + 8 * place:
                    accumulator = argument
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                pytest.fail(f"no such operation: {operation}")


@given(st.sets(st.sampled_from(SyscallGroup)), st.integers(0, 2**32 - 1), st.integers(0, 500))
def test_what_is_in_a_group_is_denied_and_nothing_else(
    groups: set[SyscallGroup], large: int, small: int
) -> None:
    for machine in MACHINES.values():
        program = assemble(groups, machine)
        denied = set(denied_numbers(groups, machine))
        for number in denied:
            assert decide(program, number, machine.audit) == RET_EPERM
        by_argument = {NUMBERS[name][machine.column] for name in ("socket", "clone", "clone3")}
        for other in {large, small} - by_argument:
            is_denied = other in denied or (machine.has_x32 and other >= X32)
            assert decide(program, other, machine.audit) == (RET_EPERM if is_denied else RET_ALLOW)
        assert decide(program, small, 0x40000003) == RET_EPERM  # i386's numbers mean other calls


@given(st.integers(0, 2**32 - 1))
def test_sockets_of_other_families_than_unix_are_denied(family: int) -> None:
    for machine in MACHINES.values():
        number = NUMBERS["socket"][machine.column]
        program = assemble([SyscallGroup.INET], machine)
        wanted = RET_ALLOW if family == 1 else RET_EPERM
        assert decide(program, number, machine.audit, family) == wanted
        assert decide(assemble([], machine), number, machine.audit, family) == RET_ALLOW


@given(st.integers(0, 2**32 - 1))
def test_clone_makes_processes_and_threads_but_no_namespaces(flags: int) -> None:
    for machine in MACHINES.values():
        clone, clone3 = (NUMBERS[name][machine.column] for name in ("clone", "clone3"))
        program = assemble([SyscallGroup.NAMESPACES], machine)
        wanted = RET_EPERM if flags & NEW_NAMESPACES else RET_ALLOW
        assert decide(program, clone, machine.audit, flags) == wanted
        assert decide(program, clone3, machine.audit, flags) == RET_ENOSYS
        assert decide(assemble([], machine), clone3, machine.audit, flags) == RET_ALLOW
    assert NEW_NAMESPACES & CLONE_NEWNET


def test_every_call_of_a_group_has_a_number() -> None:
    names = [name for calls in SYSCALLS.values() for name in calls]
    assert len(names) == len(set(names))
    assert set(names) | {"socket", "clone", "clone3"} == set(NUMBERS)
    assert set(SYSCALLS) == set(SyscallGroup)
    for column in (0, 1):
        numbers = [row[column] for row in NUMBERS.values() if row[column] >= 0]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    ("name", "amd64", "arm64"),
    [("ptrace", 101, 117), ("mount", 165, 40), ("bpf", 321, 280), ("execve", 59, 221)],
)
def test_some_numbers_are_the_kernels(name: str, amd64: int, arm64: int) -> None:
    assert NUMBERS[name] == (amd64, arm64)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_rpcd_may_make_the_listed_calls_alone(machine: Machine) -> None:
    program = assemble_allowed(machine, OWN_PID)
    ruled = {rule.call for rule in argument_rules(OWN_PID)}
    allowed = {numbers[machine.column] for name, numbers in ALLOWED.items() if name not in ruled}
    fatal = set(denied_numbers(FATAL, machine))
    clone3 = NUMBERS["clone3"][machine.column]
    by_argument = {ALLOWED[name][machine.column] for name in ruled}
    for number in set(range(NEWEST + 200)) - by_argument:
        is_newer = number > NEWEST or number == clone3
        wanted = RET_ALLOW if number in allowed else RET_ENOSYS if is_newer else RET_EPERM
        if number in fatal:
            wanted = RET_KILL
        assert decide(program, number, machine.audit) == wanted, number
        assert decide(program, number, 0x40000003) == RET_KILL  # i386's numbers mean other calls
    if machine.has_x32:
        assert decide(program, X32 | 59, machine.audit) == RET_KILL


@given(st.integers(0, 2**32 - 1))
def test_rpcds_calls_have_the_arguments_that_the_rules_say(value: int) -> None:
    for machine in MACHINES.values():
        program = assemble_allowed(machine, OWN_PID)
        for rule in argument_rules(OWN_PID):
            number = ALLOWED[rule.call][machine.column]
            samples = {value, *rule.only, rule.without, rule.including, value & ~rule.without}
            for argument in samples if number >= 0 else ():
                is_allowed = (
                    argument in rule.only
                    if rule.only
                    else not argument & rule.without
                    if rule.without
                    else bool(argument & rule.including)
                )
                wanted = RET_ALLOW if is_allowed else RET_EPERM
                assert decide(program, number, machine.audit, argument, rule.argument) == wanted


def test_no_listed_call_is_one_that_services_are_denied() -> None:
    assert not set(ALLOWED) & {name for calls in SYSCALLS.values() for name in calls}
    for column in (0, 1):
        numbers = [row[column] for row in ALLOWED.values() if row[column] >= 0]
        assert len(numbers) == len(set(numbers))
        assert not set(numbers) & {row[column] for row in NUMBERS.values() if row[column] >= 0} - {
            NUMBERS[name][column] for name in ("socket", "clone")
        }


@pytest.mark.parametrize(("header", "column"), HEADERS)
def test_the_listed_numbers_are_the_kernels(header: Path, column: int) -> None:
    if not header.exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    kernels = {name: int(number) for name, number in lines}
    kernels.setdefault("newfstatat", kernels.get("fstatat", -1))
    for name, numbers in {**ALLOWED, **NUMBERS}.items():
        if numbers[column] >= 0 and name in kernels:
            assert numbers[column] == kernels[name], name
    assert len(set(ALLOWED) & set(kernels)) > 80


def test_every_service_is_denied_what_none_needs_and_rpcd_all_but_its_list() -> None:
    roles = {role.name: role for role in (*SERVICES, AUTHD, LOGD)}
    assert [name for name, role in roles.items() if role.listed] == ["rpcd"]
    for name, role in roles.items():
        dangerous = {SyscallGroup.TRACING, SyscallGroup.KERNEL, SyscallGroup.GUESTS}
        assert role.listed or dangerous <= set(role.denied), name
    assert [name for name, role in roles.items() if not role.network] == ["rpcd", "logd"]
    assert SyscallGroup.MOUNTS not in roles["stord"].denied
    assert SyscallGroup.KEYS not in roles["authd"].denied
    # QEMU's library of NUMA calls set_mempolicy, and hook scripts are the administrator's.
    assert SyscallGroup.NUMA not in roles["hostd"].denied
    assert all(role.denied == () for role in WORKERS.values())


# What the kernel does.


def in_child(work: Callable[[], int]) -> int:
    """The exit status of a function in a child; -N if signal N kills it."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def confined(work: Callable[[], int], *groups: SyscallGroup, network: bool = True) -> int:
    """Run a function in a child that is confined."""

    def begin() -> int:
        empty = EmptyNetwork()
        if not network:
            empty.prepare()
        wanted = Confinement(privileges=Privileges.FILES, denied=groups, network=network)
        return 98 if confine(wanted, empty) else work()

    return in_child(begin)


@as_root
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers are known")
def test_a_denied_call_fails_as_without_a_privilege_and_others_work() -> None:
    def work() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(56 if AMD64 is MACHINES[platform.machine()] else 220, 0x10000011, 0) != -1:
            return 3  # CLONE_NEWUSER | SIGCHLD
        if libc.unshare(0x400) != -1 or ctypes.get_errno() != errno.EPERM:  # CLONE_FILES
            return 1
        socket.socketpair()
        return 0 if subprocess.run(["true"], check=False).returncode == 0 else 2

    assert confined(work, SyscallGroup.NAMESPACES) == 0


@as_root
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers are known")
def test_a_process_without_internet_sockets_has_unix_ones() -> None:
    def work() -> int:
        socket.socket(socket.AF_UNIX).close()
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_VSOCK):
            try:
                socket.socket(family, socket.SOCK_DGRAM).close()
            except PermissionError:
                continue
            return 1
        return 0

    assert confined(work, SyscallGroup.INET) == 0


@as_root
def test_programs_inherit_a_filter() -> None:
    def work() -> int:
        # CLONE_FILES: needs no privilege, and is allowed in a chroot, as user namespaces are not
        code = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x400) != 0)"
        return subprocess.run([sys.executable, "-c", code], check=False).returncode

    assert confined(work) == 0
    assert confined(work, SyscallGroup.NAMESPACES) != 0


@as_root
def test_a_process_without_programs_executes_none() -> None:
    def work() -> int:
        try:
            os.execv("/bin/true", ["true"])
        except PermissionError:
            return 7

    assert confined(work, SyscallGroup.PROGRAMS) == 7


@as_root
def test_a_process_without_network_has_no_interface_and_uses_what_it_is_given() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, socket.create_connection(listening.getsockname()) as client:

        def work() -> int:
            if len(socket.if_nameindex()) != 1:  # lo, which is down
                return 1
            connection, _ = listening.accept()
            connection.send(b"x")
            with socket.socket() as own:
                own.settimeout(2)
                return 0 if own.connect_ex(listening.getsockname()) else 2

        assert confined(work, network=False) == 0
        assert client.recv(1) == b"x"


@as_root
def test_the_process_that_makes_the_empty_network_stays_in_its_own() -> None:
    def work() -> int:
        before = os.readlink("/proc/self/ns/net")
        empty = EmptyNetwork()
        empty.prepare()
        if os.readlink("/proc/self/ns/net") != before or empty.refusal:
            return 1
        empty.enter()
        return 0 if os.readlink("/proc/self/ns/net") != before else 2

    assert in_child(work) == 0


@as_root
def test_where_the_kernel_refuses_the_process_runs_and_the_log_says_what_is_lacking() -> None:
    def work() -> int:
        command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
        program = (
            "from supervisor.root.confinement import *; from supervisor.root.privileges import *\n"
            "empty = EmptyNetwork(); empty.prepare()\n"
            "wanted = Confinement(privileges=Privileges.STORAGE, network=False)\n"
            "print(confine(wanted, empty))\n"
        )
        done = subprocess.run(
            [*command, sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        return 0 if "host's network: Operation not permitted" in done.stdout else 1

    assert in_child(work) == 0


@as_root
def test_confining_takes_less_than_a_few_milliseconds() -> None:
    started = time.perf_counter()
    for _ in range(20):
        assert confined(lambda: 0, *SyscallGroup, network=False) == 0
    assert (time.perf_counter() - started) / 20 < 0.2  # 5 ms on an idle host; a fork is most of it


def listed(work: Callable[[], int]) -> int:
    """Run a function in a child that may do what rpcd may."""

    def begin() -> int:
        wanted = Confinement(privileges=Privileges.NONE, listed=True)
        return 98 if confine(wanted, EmptyNetwork()) else work()

    return in_child(begin)


@as_root
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers are known")
@pytest.mark.parametrize(
    "name", ["execve", "ptrace", "mount", "unshare", "bpf", "init_module", "process_vm_writev"]
)
def test_a_call_that_only_an_attacker_makes_ends_rpcd(name: str) -> None:
    def work() -> int:
        number = NUMBERS[name][MACHINES[platform.machine()].column]
        ctypes.CDLL(None).syscall(number, 0, 0, 0, 0, 0)
        return 0

    assert listed(work) == -signal.SIGSYS


@as_root
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers are known")
def test_rpcd_reaches_no_host_file_or_process() -> None:
    with socket.socket() as bound, socket.socket(socket.AF_UNIX) as unbound:
        refused: tuple[Callable[[], object], ...] = (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
            lambda: bound.bind(("127.0.0.1", 0)),
            lambda: unbound.bind("/tmp/never"),
            unbound.listen,
            lambda: os.open("/tmp", os.O_RDWR | os.O_TMPFILE),
            lambda: os.open("/dev/null", os.O_WRONLY),
            lambda: os.open("/tmp/never", os.O_RDONLY | os.O_CREAT),
            lambda: os.unlink("/tmp/never"),
            lambda: os.kill(os.getpid(), 0),
            lambda: os.setuid(65534),
            lambda: os.truncate("/tmp/never", 0),
            os.fork,
        )

        def work() -> int:
            for place, attempt in enumerate(refused, 1):
                try:
                    attempt()
                except PermissionError:
                    continue
                return place
            return 0

        assert listed(work) == 0


@as_root
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers are known")
def test_rpcd_can_do_what_its_libraries_do() -> None:
    def work() -> int:
        fd = os.memfd_create("x", os.MFD_CLOEXEC)
        os.write(fd, b"x")
        if Path(f"/proc/self/fd/{fd}").read_bytes() != b"x":
            return 1
        done = threading.Event()
        threading.Thread(target=done.set).start()
        if not done.wait(5):
            return 2
        ends = socket.socketpair()
        socket.send_fds(ends[0], [b"x"], [fd])
        os.urandom(16)
        os.listdir("/proc/self/fd")
        os.cpu_count()
        time.sleep(0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(NEWEST + 9, 0) != -1 or ctypes.get_errno() != errno.ENOSYS:
            return 3
        faulthandler.disable()
        os.abort()

    assert listed(work) == -signal.SIGABRT


def test_the_log_says_what_a_process_did_that_the_kernel_ended() -> None:
    assert "a system call that it may never make" in describe_status(int(signal.SIGSYS))
    assert describe_status(int(signal.SIGKILL)) == "was killed by SIGKILL"
