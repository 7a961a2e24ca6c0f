"""The system calls that rpcd may make: it parses the bytes of clients that nobody knows yet.

Owns: that list, the arguments that some of them may have, and their numbers. Pure.
Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h; strace of
rpcd under the client tests, and what CPython, uvloop, OpenSSL and glibc call on rarer ways.

A call that is not in the list fails with EPERM; one that is newer than the list with ENOSYS, as on
a kernel that lacks it, for glibc then uses an older one. Of `FATAL` groups, which no library tries
out, one ends the process: whoever makes it has taken rpcd over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from supervisor.runtime.syscalls import SyscallGroup

#: The last call that existed when the list was made: set_mempolicy_home_node, of Linux 5.17.
NEWEST: Final = 450
FATAL: Final = (
    SyscallGroup.TRACING,
    SyscallGroup.KERNEL,
    SyscallGroup.GUESTS,
    SyscallGroup.NAMESPACES,
    SyscallGroup.MOUNTS,
    SyscallGroup.PROGRAMS,
)
#: On x86_64, and on machines with the generic table; -1: not there. The most frequent ones first:
#: kernels before 5.11 look through them at each call.
ALLOWED: Final[dict[str, tuple[int, int]]] = {
    # Its loop and its clients' sockets.
    "read": (0, 63),
    "write": (1, 64),
    "recvmsg": (47, 212),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "epoll_wait": (232, -1),
    "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441),
    "epoll_ctl": (233, 21),
    "epoll_create1": (291, 20),
    "poll": (7, -1),
    "ppoll": (271, 73),
    "select": (23, -1),
    "pselect6": (270, 72),
    "accept": (43, 202),
    "accept4": (288, 242),
    "close": (3, 57),
    "shutdown": (48, 210),
    "getsockopt": (55, 209),
    "setsockopt": (54, 208),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "socketpair": (53, 199),
    "socket": (41, 198),
    "connect": (42, 203),
    "eventfd2": (290, 19),
    "pipe2": (293, 59),
    # Files, which it opens to read, and streams that others have opened.
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "stat": (4, -1),
    "lstat": (6, -1),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, -1),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, -1),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "open": (2, -1),
    "openat": (257, 56),
    "dup": (32, 23),
    "dup2": (33, -1),
    "dup3": (292, 24),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "close_range": (436, 436),
    "memfd_create": (319, 279),
    "ftruncate": (77, 46),
    # Memory.
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "membarrier": (324, 283),
    # Threads of its own and signals to itself.
    "futex": (202, 98),
    "clone": (56, 220),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "rseq": (334, 293),
    "set_tid_address": (218, 96),
    "gettid": (186, 178),
    "getpid": (39, 172),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "getcpu": (309, 168),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "tgkill": (234, 131),
    "prctl": (157, 167),
    "arch_prctl": (158, -1),
    # What time it is and who it is.
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, -1),
    "times": (100, 153),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "prlimit64": (302, 261),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "getppid": (110, 173),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "getpgrp": (111, -1),
}
AF_UNIX: Final = 1
CLONE_THREAD: Final = 0x10000
WRITING: Final = 0x3 | 0x40 | 0x200  # O_WRONLY, O_RDWR; O_CREAT; O_TRUNC
FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS = 0x5421, 0x541B, 0x5451, 0x5450, 0x5401
PR_SET_NAME, PR_GET_NAME, PR_SET_VMA = 15, 16, 0x53564D41
OWN_PROCESS: Final = 0  # of prlimit64


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """What the lower half of an argument must be; the call fails with EPERM else."""

    call: str
    argument: int  # its place, from 0
    only: tuple[int, ...] = ()
    without: int = 0  # bits, none of which it may have
    including: int = 0  # bits, one of which it must have


def argument_rules(own_pid: int) -> tuple[ArgumentRule, ...]:
    """Return the rules of a process."""
    return (
        ArgumentRule("openat", 2, without=WRITING),
        ArgumentRule("open", 1, without=WRITING),
        ArgumentRule("ioctl", 1, only=(FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS)),
        ArgumentRule("socket", 0, only=(AF_UNIX,)),
        ArgumentRule("socketpair", 0, only=(AF_UNIX,)),
        ArgumentRule("clone", 0, including=CLONE_THREAD),  # no process of its own
        ArgumentRule("prctl", 0, only=(PR_SET_NAME, PR_GET_NAME, PR_SET_VMA)),
        ArgumentRule("prlimit64", 0, only=(OWN_PROCESS,)),
        ArgumentRule("tgkill", 0, only=(own_pid,)),  # abort(3)
    )
