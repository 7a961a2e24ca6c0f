"""A daemon of containers in a network namespace of its own, and words run inside them.

Owns: the daemon and the folder that it makes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.containers import Rootfs, build_rootfs, lxc_uri
from tests.clients.daemon import Daemon
from tests.clients.event_watch import EventLoop
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_network

#: An init that ends on SIGTERM and begins anew on SIGHUP.
REBOOTING = """#!/bin/sh
trap 'exit 0' TERM
trap 'reboot -f' HUP
while :; do sleep 1000 & wait $!; done
"""
#: What reads all that it is given into memory, and what else the tests' containers run.
MORE = ("udhcpc", "ping", "nc", "mknod", "stty", "route", "ifconfig", "yes", "seq", "nproc", "df")


@dataclass
class Boxes:
    """A daemon, a root folder for containers, a connection."""

    daemon: Daemon
    rootfs: Path
    link: Any

    def inside(self, name: str, *words: str, check: bool = True) -> str:
        """What a program says that is run in a container's namespaces by stock virsh."""
        uri = lxc_uri(self.daemon)
        done = self.daemon.virsh("lxc-enter-namespace", name, "--noseclabel", *words, uri=uri)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, name: str, script: str, *, check: bool = True) -> str:
        """The same of the container's shell."""
        return self.inside(name, "/bin/sh", "-c", script, check=check)

    def as_root(self, name: str, script: str, *, check: bool = True) -> str:
        """What the container's shell says as its root, within its limits; virsh is nobody."""
        monitor = int((self.daemon.root / f"run/libvirt/lxc/{name}.pid").read_text())
        (init,) = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        uuid = self.link.lookupByName(name).UUIDString()  # another daemon may have such a name
        joined = [group for group in groups(name) if group.name.endswith(uuid[:8])]
        joining = "".join(f"echo $$ > {group}/cgroup.procs; " for group in joined)
        enter = f"nsenter --target {init} --all --setuid 0 --setgid 0 -- /bin/sh -c"
        done = subprocess.run(
            ["/bin/sh", "-c", f'{joining} exec {enter} "$0"', script],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0 or not check, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def virsh(self, *words: str) -> str:
        """What stock virsh says."""
        done = self.daemon.virsh(*words, uri=lxc_uri(self.daemon))
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def worker(self, name: str) -> int:
        """The process number of a container's worker; 0: there is none."""
        rows = [row for row in self.daemon.status() if row["name"] == f"lxc:{name}"]
        return int(rows[0]["pid"]) if rows and rows[0]["state"] == "running" else 0

    def end_all(self) -> None:
        """Leave no container."""
        for domain in self.link.listAllDomains():
            persistent = domain.isPersistent()
            if domain.isActive():
                domain.destroy()
            if persistent:
                domain.undefine()


@contextlib.contextmanager
def boxes() -> Iterator[Boxes]:
    """Have them, and leave nothing: no process, mount, link or cgroup."""
    EventLoop.start()
    folder = Path(tempfile.mkdtemp(prefix="vvbox-", dir="/tmp"))
    folder.chmod(0o755)
    rootfs: Rootfs = build_rootfs(folder / "root")
    for applet in MORE:
        (rootfs.path / "bin" / applet).symlink_to("busybox")
    init = rootfs.path / "sbin/rebooting"
    init.write_text(REBOOTING)
    init.chmod(0o755)
    script = rootfs.path / "etc/udhcpc"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && ip addr add $ip/24 dev $interface\nexit 0\n')
    script.chmod(0o755)
    try:
        with own_network():
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            with Daemon() as daemon:
                connection = libvirt.open(lxc_uri(daemon))
                held = Boxes(daemon, rootfs.path, connection)
                try:
                    yield held
                finally:
                    held.end_all()
                    held.link.close()
    finally:
        shutil.rmtree(folder)


def groups(name: str) -> list[Path]:
    """The cgroups that containers of a name have, in every hierarchy."""
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "-maxdepth", "4", "-type", "d", "-name", f"lxc-{name}-*"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return [Path(line) for line in found.stdout.splitlines()]
