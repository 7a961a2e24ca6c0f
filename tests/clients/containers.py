"""Containers for the client tests: a root folder with busybox in it, and documents.

Owns: the folder that it is given.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.clients.daemon import Daemon

BUSYBOX: Final = Path("/usr/bin/busybox")
APPLETS: Final = (
    *("sh", "sleep", "cat", "ls", "id", "ip", "hostname", "mount", "kill", "echo", "ps", "reboot"),
    *("poweroff", "halt", "true", "mkdir", "dd", "head", "tail", "grep", "wc", "env", "tty"),
)
#: An init that says so, obeys SIGTERM, and leaves no child behind that nobody waits for.
INIT: Final = """#!/bin/sh
trap 'exit 0' TERM INT PWR
echo container is up
while :; do sleep 1000 & wait $!; done
"""
IDMAP: Final = (
    "<idmap><uid start='0' target='200000' count='65536'/>"
    "<gid start='0' target='200000' count='65536'/></idmap>"
)


@dataclass(frozen=True)
class Rootfs:
    """A folder that a container may have as its root."""

    path: Path


def build_rootfs(folder: Path) -> Rootfs:
    """Make a root folder of busybox alone; Debian's static one needs no library."""
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "etc", "root", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    for applet in APPLETS:
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\n")
    init = folder / "sbin/init"
    init.write_text(INIT)
    init.chmod(0o755)
    folder.chmod(0o755)
    return Rootfs(folder)


def container(
    name: str, rootfs: Path, *, init: str = "/sbin/init", extra: str = "", idmap: str = IDMAP
) -> str:
    """A container's document; unprivileged unless `idmap` is empty."""
    return f"""<domain type='lxc'><name>{name}</name><uuid>{uuid4()}</uuid>
<memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type>exe</type><init>{init}</init></os>{idmap}
<devices><filesystem type='mount'><source dir='{rootfs}'/><target dir='/'/></filesystem>
<console type='pty'/>{extra}</devices></domain>"""


def lxc_uri(daemon: Daemon, *, read_only: bool = False) -> str:
    """The address of a daemon's containers for stock clients."""
    return f"lxc+unix:///system?socket={daemon.root}/run/libvirt/libvirt-sock" + (
        "-ro" if read_only else ""
    )
