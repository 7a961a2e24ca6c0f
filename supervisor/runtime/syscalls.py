"""The system calls that no process of ours needs, by what they are for, and their numbers.

Owns: those tables. Pure.
Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SyscallGroup(StrEnum):
    """What system calls are for."""

    TRACING = "tracing"  # looking into, or changing, other processes
    KERNEL = "kernel"  # changing the kernel, or parts of it with a history of errors
    GUESTS = "guests"  # such parts that QEMU, its helpers or its worker use, and no service
    KEYS = "keys"  # the kernel's keyrings
    CLOCK = "clock"  # the host's clock
    HOST = "host"  # the host's name
    NAMESPACES = "namespaces"  # other namespaces and roots; clone(2) by its flags, too
    MOUNTS = "mounts"  # mounts
    RINGS = "rings"  # io_uring, which filters of system calls do not see through
    PROGRAMS = "programs"  # executing programs
    FILES = "files"  # changing which files there are, and whose
    USERS = "users"  # other users and capabilities
    INET = "inet"  # sockets of other families than Unix
    PEERS = "peers"  # listening on sockets of its own
    NUMA = "numa"  # other processes' memory placement


SYSCALLS: Final[dict[SyscallGroup, tuple[str, ...]]] = {
    SyscallGroup.TRACING: (
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd"),
    ),
    SyscallGroup.KERNEL: (
        *("init_module", "finit_module", "delete_module", "create_module", "kexec_load"),
        *("kexec_file_load", "reboot", "swapon", "swapoff", "acct", "syslog", "iopl", "ioperm"),
        *("modify_ldt", "lookup_dcookie", "nfsservctl", "uselib", "quotactl", "quotactl_fd"),
        *("vhangup", "personality", "fanotify_init"),
    ),
    SyscallGroup.GUESTS: (
        "bpf",  # the worker's filters of devices (cgroup v2)
        "perf_event_open",  # the worker's performance counters
        "userfaultfd",  # QEMU's post-copy migration
        "kcmp",  # Mesa in a QEMU with OpenGL
        "open_by_handle_at",  # virtiofsd
    ),
    SyscallGroup.KEYS: ("add_key", "request_key", "keyctl"),
    SyscallGroup.CLOCK: ("settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    SyscallGroup.HOST: ("sethostname", "setdomainname"),
    SyscallGroup.NAMESPACES: ("unshare", "setns", "pivot_root", "chroot"),
    SyscallGroup.MOUNTS: (
        *("mount", "umount2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
        *("mount_setattr", "open_tree_attr"),
    ),
    SyscallGroup.RINGS: ("io_uring_setup", "io_uring_enter", "io_uring_register"),
    SyscallGroup.PROGRAMS: ("execve", "execveat"),
    SyscallGroup.FILES: (
        *("unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
        *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate", "creat"),
        *("chmod", "fchmodat", "fchmod", "chown", "lchown", "fchownat", "fchown", "setxattr"),
        *("lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utimensat"),
        *("fchmodat2", "setxattrat", "removexattrat"),
    ),
    SyscallGroup.USERS: (
        *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups"),
        *("setfsuid", "setfsgid", "capset"),
    ),
    SyscallGroup.INET: (),  # by the first argument of socket(2)
    SyscallGroup.PEERS: ("bind", "listen"),
    SyscallGroup.NUMA: ("mbind", "migrate_pages", "move_pages", "set_mempolicy"),
}
#: On x86_64, and on machines with the generic table (aarch64, riscv64, loongarch64); -1: not there.
NUMBERS: Final[dict[str, tuple[int, int]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, -1),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "uselib": (134, -1),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "execve": (59, 221),
    "execveat": (322, 281),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "rmdir": (84, -1),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "truncate": (76, 45),
    "creat": (85, -1),
    "chmod": (90, -1),
    "fchmodat": (268, 53),
    "fchmod": (91, 52),
    "chown": (92, -1),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "fchown": (93, 55),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utimensat": (280, 88),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
    "socket": (41, 198),
    "bind": (49, 200),
    "listen": (50, 201),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "set_mempolicy": (238, 237),
    "clone": (56, 220),
    "clone3": (435, 435),
    "open_tree_attr": (467, 467),
    "fchmodat2": (452, 452),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
}
