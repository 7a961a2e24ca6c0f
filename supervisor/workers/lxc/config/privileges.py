"""lxc.idmap, lxc.cap and device cgroup settings: what root of the container may do.

Owns: these lines. Pure.
Source: libvirt 9.0 formatdomain, "Hypervisor features", "IDs mapping"; the lxc driver's page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conf.domain import Domain
from conf.domain.lxc.model import Capabilities
from supervisor.workers.lxc.config.host_facts import HostFacts
from supervisor.workers.lxc.config.mounts import node_paths

#: Capabilities that are dropped by default (<capabilities policy='default'>).
DROPPED: Final = ("audit_control", "mac_admin", "mknod", "sys_module", "sys_time")
#: With an <idmap>: systemd takes CAP_SYS_RAWIO as access to hardware, and fails to mount debugfs
#: and the like in a user namespace.
DROPPED_WITH_IDMAP: Final = ("sys_rawio",)
#: Allowed in every container: null, zero, full, random, urandom, tty, console, ptmx, ptys.
DEVICES: Final = ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*")


def user_lines(domain: Domain) -> Iterator[str]:
    """Write the maps of uids and gids (lxc.idmap)."""
    mapped = domain.idmap
    if mapped is None:
        return
    for letter, ranges in (("u", mapped.uids), ("g", mapped.gids)):
        for ids in ranges:
            yield f"lxc.idmap = {letter} {ids.start} {ids.target} {ids.count}"


def capability_lines(domain: Domain) -> Iterator[str]:
    """Write the capabilities that root loses, or those that it keeps (lxc.cap.*)."""
    capabilities = domain.features.capabilities if domain.features is not None else None
    states = capabilities.states() if capabilities is not None else {}
    policy = capabilities.policy if capabilities is not None else "default"
    if policy == "deny":
        kept = [name for name, on in states.items() if on]
        yield f"lxc.cap.keep = {' '.join(kept) if kept else 'none'}"
        return
    base = set(DROPPED) if policy == "default" else set()
    if policy == "default" and domain.idmap is not None:
        base |= set(DROPPED_WITH_IDMAP)
    dropped = (base - {name for name, on in states.items() if on}) | {
        name for name, on in states.items() if not on
    }
    if dropped:
        yield f"lxc.cap.drop = {' '.join(sorted(dropped))}"


def may_mknod(capabilities: Capabilities | None) -> bool:
    """Return whether the container has CAP_MKNOD for any device."""
    if capabilities is None:
        return False
    state = capabilities.states().get("mknod")
    return state if state is not None else capabilities.policy == "allow"


def device_lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """Write the rules of the device cgroup."""
    prefix = "lxc.cgroup" if "devices" in facts.v1_controllers else "lxc.cgroup2"
    yield f"{prefix}.devices.deny = a"
    yield from (f"{prefix}.devices.allow = c {number} rwm" for number in DEVICES)
    if may_mknod(domain.features.capabilities if domain.features is not None else None):
        yield f"{prefix}.devices.allow = c *:* m"
        yield f"{prefix}.devices.allow = b *:* m"
    for rule in device_rules(domain, facts):
        yield f"{prefix}.devices.allow = {rule}"


def device_rules(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """List the device cgroup's rules for the host devices of the container."""
    readonly = {
        disk.source.dev
        for disk in domain.devices.disks
        if disk.readonly and disk.source is not None
    }
    blocks = {disk.source.dev for disk in domain.devices.disks if disk.source is not None}
    blocks |= {hostdev.source.block for hostdev in domain.devices.hostdevs}
    for source, _ in node_paths(domain):
        kind = "b" if source in blocks else "c"
        yield f"{kind} {facts.device_numbers[source]} {'r' if source in readonly else 'rw'}"
