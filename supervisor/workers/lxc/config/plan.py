"""The configuration file of a container for lxc-start.

Owns: the order of its lines, and those of no other module. Pure.
Source: lxc.container.conf(5) of liblxc 5.0.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from conf.domain import Domain
from supervisor.workers.cgroups.limits import limits_from, setting_lines
from supervisor.workers.lxc.config.host_facts import HostFacts
from supervisor.workers.lxc.config.mounts import mount_lines, root_lines
from supervisor.workers.lxc.config.network import is_private, network_lines
from supervisor.workers.lxc.config.privileges import capability_lines, device_lines, user_lines
from supervisor.workers.lxc.config.text import setting

MAX_HOSTNAME: Final = 63
TERMINALS: Final = 1024
#: The start barrier: writes the pid that will execute init, and waits for a line in the FIFO.
BARRIER_HOOK: Final = 'echo "$LXC_PID" > "$0.pid"; read -r line < "$0"'
#: liblxc does not restart a rebooting container when its post-stop hook fails; it makes a mark.
REBOOT_HOOK: Final = 'test "$LXC_TARGET" != reboot || { : > "$0"; exit 1; }'
PIVOT: Final = "virtvisor.slice/pivot"  # where liblxc's monitor moves while it removes its cgroups


def plan_config(domain: Domain, facts: HostFacts) -> str:
    """Build the configuration file that lxc-start reads.

    Raises:
        ConfError: a value cannot be written to the file, or a number is out of range.
    """
    return "".join(f"{line}\n" for line in _lines(domain, facts))


def plan_init(domain: Domain) -> list[str]:
    """Build the command line of init."""
    return [domain.os.init or "", *domain.os.init_args]


def _lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    yield f"lxc.uts.name = {hostname(domain.name)}"
    yield from root_lines(domain, facts)
    yield "lxc.autodev = 1"
    yield f"lxc.pty.max = {TERMINALS}"
    consoles = len(domain.devices.consoles)
    yield f"lxc.tty.max = {consoles if consoles > 1 else 0}"
    if not consoles:
        yield "lxc.console.path = none"
    yield from _init_lines(domain, facts)
    yield from _kernel_file_systems(domain, facts)
    yield from mount_lines(domain, facts)
    yield from user_lines(domain)
    yield from capability_lines(domain)
    yield from _profiles(facts)
    yield from _namespaces(facts)
    yield from network_lines(domain, facts)
    yield "lxc.cgroup.relative = 0"
    yield setting("lxc.cgroup.dir.container", facts.group, "domain/resource/partition")
    yield setting("lxc.cgroup.dir.monitor", f"{facts.group}.monitor", "domain/resource/partition")
    yield f"lxc.cgroup.dir.monitor.pivot = {PIVOT}"
    yield from device_lines(domain, facts)
    limits = limits_from(
        domain, facts.v1_controllers, facts.device_numbers, facts.max_tasks, bfq=facts.bfq
    )
    for key, value in setting_lines(limits, facts.v1_controllers):
        yield setting(key, value, "domain")
    yield "lxc.hook.version = 1"  # version 0 would append arguments to ours
    if facts.barrier:
        yield _hook("start-host", BARRIER_HOOK, facts.barrier)
    if facts.reboot_mark:
        yield _hook("post-stop", REBOOT_HOOK, facts.reboot_mark)


def _hook(name: str, script: str, path: str) -> str:
    """Build a hook of liblxc: a script of shell builtins, with one path as its $0.

    liblxc runs `sh -c "exec HOOK"`, so the hook itself is another shell.
    """
    return setting(f"lxc.hook.{name}", shlex.join(["/bin/sh", "-c", script, path]), "domain/name")


def _init_lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    os = domain.os
    if os.init_dir:
        yield setting("lxc.init.cwd", os.init_dir, "domain/os/initdir")
    if facts.user or facts.group_id:
        yield f"lxc.init.uid = {facts.user}"
        yield f"lxc.init.gid = {facts.group_id}"
    variables = {
        "PATH": "/bin:/sbin:/usr/bin:/usr/sbin",
        "TERM": "linux",
        "HOME": "/",
        "container_uuid": domain.uuid or "",
        "LIBVIRT_LXC_UUID": domain.uuid or "",
        "LIBVIRT_LXC_NAME": domain.name,
        **{variable.name or "": variable.value for variable in os.init_variables},
    }
    for name, value in variables.items():
        yield setting("lxc.environment", f"{name}={value}", f"domain/os/initenv[{name}]")


def _kernel_file_systems(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """Write the mounts of /proc and /sys, of which only the container's own parts are writable.

    The kernel refuses a mount of sysfs (EPERM) in a user namespace that does not own the network
    namespace: then the host's /sys is bind-mounted read-only.
    """
    foreign = "net" in facts.namespaces or not is_private(domain, facts)
    if foreign and domain.idmap is not None:
        yield "lxc.mount.auto = proc:mixed"
        yield "lxc.mount.entry = /sys sys none rbind,create=dir"
    else:
        yield "lxc.mount.auto = proc:mixed sys:mixed"


def _profiles(facts: HostFacts) -> Iterator[str]:
    if facts.seccomp:
        yield f"lxc.seccomp.profile = {facts.seccomp}"
    if facts.apparmor:
        yield f"lxc.apparmor.profile = {facts.apparmor}"


def _namespaces(facts: HostFacts) -> Iterator[str]:
    for kind, path in facts.namespaces.items():
        yield setting(f"lxc.namespace.share.{kind}", path, f"domain/lxc:namespace/lxc:share{kind}")


def hostname(name: str) -> str:
    """Derive the host name from the domain's, without characters that it must not have."""
    return re.sub(r"[^A-Za-z0-9.-]", "", name)[:MAX_HOSTNAME].strip(".-") or "container"
