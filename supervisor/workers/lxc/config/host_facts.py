"""What the plan must know beyond the document.

Owns: nothing; the worker finds these out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LxcInterface:
    """A device of the host that goes into the container's network namespace."""

    link: str  # its name on the host
    name: str  # its name in the container


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The host and this start."""

    group: str  # the container's cgroup, below the root of every hierarchy
    v1_controllers: frozenset[str] = frozenset()  # controllers that version 1 of cgroups has
    max_tasks: int = 0  # in the container; 0: as many as the host has
    interfaces: Mapping[int, LxcInterface] = field(
        default_factory=dict
    )  # by the place of the <interface>
    mount_points: Mapping[str, str] = field(
        default_factory=dict
    )  # images and what is only read, by target: where they are
    nodes: Mapping[str, str] = field(default_factory=dict)  # made for it, by the host's own
    files: frozenset[str] = frozenset()  # sources of file systems that are no folders
    lxcfs: Mapping[str, str] = field(default_factory=dict)  # files of /proc that lxcfs serves
    device_numbers: Mapping[str, str] = field(
        default_factory=dict
    )  # "MAJOR:MINOR" of devices, by path
    namespaces: Mapping[str, str] = field(default_factory=dict)  # "net", "ipc", "uts": whose
    user: int = 0  # init's, in the container
    group_id: int = 0
    seccomp: str = ""  # the profile's path
    apparmor: str = ""  # the profile's name
    barrier: str = ""  # the pipe at which the container waits before its first instruction
    reboot_mark: str = ""  # the file that is made when the container ends in a reboot
