"""The whole configuration of a container.

Owns: the order of it, and what belongs to no other part. Pure.
Source: lxc.container.conf(5) of liblxc 5.0.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from conf.domain import Domain
from supervisor.workers.lxc.config.host_facts import HostFacts
from supervisor.workers.lxc.config.limits import limits_from, setting_lines
from supervisor.workers.lxc.config.mounts import mount_lines, root_lines
from supervisor.workers.lxc.config.network import is_private, network_lines
from supervisor.workers.lxc.config.privileges import capability_lines, device_lines, user_lines
from supervisor.workers.lxc.config.text import setting

MAX_HOSTNAME: Final = 63
TERMINALS: Final = 1024
#: Says who is to be init, and waits for a line. It runs when all but init is there.
BARRIER_HOOK: Final = 'echo "$LXC_PID" > "$0.pid"; read -r line < "$0"'
#: liblxc gives up beginning again when a hook after the end fails; this leaves a mark, too.
REBOOT_HOOK: Final = 'test "$LXC_TARGET" != reboot || { : > "$0"; exit 1; }'
PIVOT: Final = "virtvisor.slice/pivot"  # where liblxc waits while it removes cgroups


def plan_config(domain: Domain, facts: HostFacts) -> str:
    """The file that lxc-start reads.

    Raises:
        ConfError: a word cannot be passed on, or a number is out of range.
    """
    return "".join(f"{line}\n" for line in _lines(domain, facts))


def plan_init(domain: Domain) -> list[str]:
    """The container's first program and its words."""
    return [domain.os.init or "/sbin/init", *domain.os.init_args]


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
    limits = limits_from(domain, facts.v1_controllers, facts.device_numbers, facts.max_tasks)
    for key, value in setting_lines(limits, facts.v1_controllers):
        yield setting(key, value, "domain")
    yield "lxc.hook.version = 1"  # no words of its own after ours
    if facts.barrier:
        yield _hook("start-host", BARRIER_HOOK, facts.barrier)
    if facts.reboot_mark:
        yield _hook("post-stop", REBOOT_HOOK, facts.reboot_mark)


def _hook(name: str, script: str, path: str) -> str:
    """A hook of liblxc's: a script of the shell's own commands alone, which is given one path.

    liblxc has a shell replace itself by what it is given, which is another shell therefore.
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
        **{variable.name: variable.value for variable in os.init_variables},
    }
    for name, value in variables.items():
        yield setting("lxc.environment", f"{name}={value}", f"domain/os/initenv[{name}]")


def _kernel_file_systems(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """/proc and /sys, of which a container may write what is its own.

    The kernel lets nobody mount a sysfs who does not own the network that it tells of.
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
    """What a container calls itself: its name without what no host's name has."""
    return re.sub(r"[^A-Za-z0-9.-]", "", name)[:MAX_HOSTNAME].strip(".-") or "container"
