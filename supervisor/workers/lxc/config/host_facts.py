"""The facts of the host and of one start that the configuration depends on beside the XML.

Owns: nothing; `checks` and the steps of a start gather them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LxcInterface:
    """A network device that liblxc moves into the container's namespace."""

    link: str  # its name on the host
    name: str  # its name in the container


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The host, and one start."""

    group: str  # the container's cgroup, below the root of every hierarchy
    v1_controllers: frozenset[str] = frozenset()  # controllers that version 1 of cgroups has
    bfq: bool = False  # I/O weights are those of the BFQ scheduler
    max_tasks: int = 0  # pids.max of the container; 0: no limit
    interfaces: Mapping[int, LxcInterface] = field(
        default_factory=dict
    )  # by the index of the <interface>
    mount_points: Mapping[str, str] = field(
        default_factory=dict
    )  # of images and read-only directories, by target
    nodes: Mapping[str, str] = field(
        default_factory=dict
    )  # device nodes made for the container, by the host's path
    files: frozenset[str] = frozenset()  # file system sources that are no directories
    lxcfs: Mapping[str, str] = field(default_factory=dict)  # paths by the name in /proc
    device_numbers: Mapping[str, str] = field(
        default_factory=dict
    )  # "MAJOR:MINOR" of devices, by path
    namespaces: Mapping[str, str] = field(
        default_factory=dict
    )  # shared ones: paths by "net", "ipc", "uts"
    user: int = 0  # init's uid in the container
    group_id: int = 0
    seccomp: str = ""  # the profile's path
    apparmor: str = ""  # the profile's name
    barrier: str = ""  # the FIFO of the start barrier; "": start at once
    reboot_mark: str = ""  # the file that the post-stop hook makes at a reboot
