"""The memory policy of a QEMU process, of its <numatune>.

Owns: that choice, and which nodes the host has. May touch: /sys, to read.
Source: libvirt 9.0, qemuProcessHook, virNumaSetupMemoryPolicy.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from supervisor.runtime.memory_policy import MemoryPolicy, Mode

NODES_ONLINE: Final = Path("/sys/devices/system/node/online")
MODES: Final = {"strict": Mode.BIND, "preferred": Mode.PREFERRED, "interleave": Mode.INTERLEAVE}


def host_nodes() -> frozenset[int]:
    """Return the host's online NUMA nodes; node 0 where the kernel has no NUMA."""
    online = {0}
    with contextlib.suppress(OSError):
        online |= parse_cpuset(NODES_ONLINE.read_text().strip())
    return frozenset(online)


def check_nodes(nodeset: str, online: frozenset[int]) -> None:
    """Refuse nodes that the host does not have.

    Raises:
        ConfError: "config_unsupported".
    """
    absent = sorted(parse_cpuset(nodeset) - online)
    if absent:
        raise ConfError("config_unsupported", f"NUMA node {absent[0]} is unavailable")


def memory_policy(domain: Domain, *, has_cpuset: bool) -> MemoryPolicy | None:
    """Choose the policy that QEMU is started with.

    Where the group's cpuset keeps a strict guest's memory on its nodes, no policy is set: it could
    not be changed any more. A restrictive guest has the cpuset alone.

    Raises:
        ConfError: "config_unsupported": the host has no such node, or several are preferred.
    """
    memory = domain.numatune.memory if domain.numatune is not None else None
    if memory is None or not memory.nodeset:
        return None
    check_nodes(memory.nodeset, host_nodes())
    mode = memory.mode or "strict"
    if mode not in MODES or (mode == "strict" and has_cpuset):
        return None
    nodes = parse_cpuset(memory.nodeset)
    if mode == "preferred" and len(nodes) != 1:
        detail = "NUMA memory tuning in 'preferred' mode only supports single node"
        raise ConfError("config_unsupported", detail)
    return MemoryPolicy(MODES[mode], nodes)
