"""The disk of a machine with Debian, systemd, QEMU and libvirt's clients, and no daemon.

Owns: the kept disks, `/var/tmp/virtvisor-rig-UID/service-SUITE-*`. May touch: the release's system
in a temporary folder beside them, while it is made.

The packages that the proofs install are in apt's cache in the image: the machine has no network.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.debian_root import mirror
from tests.integration.rig.kernel import CACHE, RigError
from tests.integration.rig.scripts import HOST, READY

VERSION: Final = "1"  # of what is done to a system here
MAKE_S: Final = 1800
SIZE_MIB: Final = 6144
SHELL: Final = "usr/local/sbin/rig-shell"
BASE: Final = (
    "ca-certificates", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "python3",
    "apparmor",
)  # fmt: skip
#: What a host with guests has without any daemon of libvirt.
INSTALLED: Final = (
    "linux-image-amd64", "libvirt-clients", "python3-libvirt", "qemu-system-x86", "qemu-utils",
    "swtpm", "swtpm-tools", "dnsmasq-base", "iptables", "nftables", "lxc", "polkitd", "lvm2",
    "systemd-container", "libsasl2-2",
)  # fmt: skip
#: Fetched, for the proofs to install; what a release has not is left out.
FETCHED: Final = ("libvirt-daemon-system", "libvirt-daemon-system-systemd")
#: What starts by itself some time after the boot and would only take the machine's time.
MASKED: Final = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer",
    "man-db.timer", "dpkg-db-backup.timer", "systemd-tmpfiles-clean.timer",
)  # fmt: skip
#: Takes commands as the rig's machines do, from when the machine has its file systems.
SERVICE: Final = f"""\
[Unit]
Description=Commands of the rig
After=local-fs.target systemd-tmpfiles-setup.service dbus.socket
[Service]
ExecStart=/{SHELL}
Restart=no
KillMode=process
[Install]
WantedBy=multi-user.target
"""
LOOP: Final = f"""\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=dumb
modprobe virtio_console; modprobe 9pnet_virtio; modprobe 9p
mkdir -p {HOST}
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none rig {HOST}
exec 3<>/dev/hvc0
stty raw -echo <&3
echo "{READY}" >&3
while IFS= read -r number <&3; do
    setsid -w bash {HOST}/$number.sh </dev/null >{HOST}/$number.out 2>&1 3>&-
    echo "ended $number $?" >&3
done
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A disk, and the kernel that boots it, which has its modules beside it as in `/`."""

    disk: Path
    kernel: Path


def image(suite: str, *, libvirt: bool) -> Image:
    """Return a release's disk; it is made where none is kept.

    Args:
        suite: the release.
        libvirt: it has libvirt's own daemon.

    Raises:
        RigError: it cannot be made; the message says why.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"service-{suite}-{'libvirt-' if libvirt else ''}{VERSION}"
    with (CACHE / "service.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as name:
                made = Path(name) / "made"
                made.mkdir()
                _make(suite, Path(name) / "root", made, libvirt=libvirt)
                made.rename(folder)
    return Image(folder / "disk.raw", next((folder / "boot").glob("vmlinuz-*")))


def _make(suite: str, root: Path, made: Path, *, libvirt: bool) -> None:
    """Make a disk, and keep the kernel beside it."""
    words = ("debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", suite)
    _run(*words, str(root), mirror())
    configure_apt(root)
    apt = ("chroot", str(root), "apt-get", "--quiet", "--yes", "--no-install-recommends")
    _run(*apt, "update")
    _run(*apt, "install", *INSTALLED)
    known = _run("chroot", str(root), "apt-cache", "--no-all-versions", "show", *FETCHED)
    fetched = {line.split()[1] for line in known.splitlines() if line.startswith("Package: ")}
    how = ("install",) if libvirt else ("install", "--download-only")
    _run(*apt, *how, *sorted(fetched & {*FETCHED}))
    configure(root)
    shutil.copytree(root / "boot", made / "boot", symlinks=True)
    shutil.copytree(root / "lib/modules", made / "lib/modules", symlinks=True)
    disk = made / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(SIZE_MIB << 20)
    _run("mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(disk))


def configure_apt(root: Path) -> None:
    """Reach the mirror as this machine does, and start nothing in the chroot."""
    (root / "etc/dpkg/dpkg.cfg.d/quick").write_text("force-unsafe-io\n")
    for name in ("etc/resolv.conf", "etc/hosts"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        shutil.copyfile(bundle, root / bundle.relative_to("/"))


def configure(root: Path) -> None:
    """Make a system of a chroot: a root file system, a name, and the rig's shell."""
    (root / "etc/hostname").write_text("rig\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost rig\n::1 localhost\n")
    (root / "etc/fstab").write_text("LABEL=root / ext4 rw,noatime 0 1\n")
    (root / "etc/machine-id").write_text("")
    (root / SHELL).write_text(LOOP)
    (root / SHELL).chmod(0o755)
    unit = root / "etc/systemd/system/rig.service"
    unit.write_text(SERVICE)
    wanted = root / "etc/systemd/system/multi-user.target.wants/rig.service"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.symlink_to("/etc/systemd/system/rig.service")
    for name in MASKED:
        (root / "etc/systemd/system" / name).symlink_to("/dev/null")


def _run(*command: str) -> str:
    """Run a program; what it printed.

    Raises:
        RigError: it failed, or took too long.
    """
    words = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "INITRD": "No", "RUNLEVEL": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAKE_S, env=words, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"{command[0]}: {error}") from error
    # apt-cache's status is not 0 where a package is unknown, and the others are listed all the same
    if done.returncode != 0 and "apt-cache" not in command:
        raise RigError(f"{' '.join(command[:4])}: {done.stderr[-4000:]}{done.stdout[-2000:]}")
    return done.stdout
