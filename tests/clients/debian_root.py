"""A Debian system for containers: made by debootstrap once, kept for later runs, copied for each.

Owns: the kept one; its files belong to the users that a container maps from 200000 on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

SUITE: Final = "bookworm"
KEPT: Final = Path(f"/var/tmp/virtvisor-debian-{os.getuid()}")
VERSION: Final = "4"  # of what is done to it here
FIRST_USER: Final = 200000
PASSWORD: Final = "box"
INCLUDED: Final = ("systemd-sysv", "iproute2", "iputils-ping")
BUILD_S: Final = 600
#: What a container never needs, and what would only be copied.
BALLAST: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")
NETWORKD: Final = "systemd-networkd.service"
GETTY: Final = "console-getty.service"
#: systemd gives up a unit that starts six times in 10 s, and each logout starts the getty again. It
#: stops a unit of which the kernel killed a process for memory, and with it the login's shell.
GETTY_SETTINGS: Final = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nOOMPolicy=continue\n"
NETWORK: Final = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n"


def debian_root() -> Path:
    """The kept system; it is made if it is not there.

    Raises:
        subprocess.CalledProcessError: it cannot be made; what debootstrap says is in its output.
    """
    KEPT.mkdir(mode=0o755, exist_ok=True)
    found = KEPT / f"{SUITE}-{VERSION}"
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            with tempfile.TemporaryDirectory(dir=KEPT) as folder:
                made = Path(folder) / "root"
                _bootstrap(made)
                _configure(made)
                give_away(made)
                made.rename(found)
    return found


def copy_debian_root(to: Path) -> Path:
    """A copy of it, which a container may change."""
    subprocess.run(["cp", "-a", "--reflink=auto", debian_root(), to], check=True, timeout=120)
    return to


def mirror() -> str:
    """Where this machine's own apt has Debian's packages from."""
    output = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for line in output.splitlines():
        label, _, place = line.rpartition(" ")
        if label == "Debian":  # its archive has every release; security and backports do not
            return place
    raise AssertionError("this machine's apt knows no Debian archive: run apt-get update")


def _bootstrap(to: Path) -> None:
    subprocess.run(
        [
            *("debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}"),
            *(SUITE, str(to), mirror()),
        ],
        check=True,
        timeout=BUILD_S,  # its output is the test's: a mirror that fails is named there
    )


def _configure(root: Path) -> None:
    """What a person would do first: a password for root, the network by DHCP."""
    for name in BALLAST:
        shutil.rmtree(root / name)
        (root / name).mkdir()
    words = f"root:{PASSWORD}\n"
    subprocess.run(
        ["chpasswd", "--root", str(root)], input=words, text=True, check=True, timeout=30
    )
    (root / "etc/systemd/network/eth0.network").write_text(NETWORK)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / NETWORKD).symlink_to(f"/lib/systemd/system/{NETWORKD}")
    getty = root / f"etc/systemd/system/{GETTY}.d"
    getty.mkdir()
    (getty / "settings.conf").write_text(GETTY_SETTINGS)
    (root / "etc/hostname").unlink(missing_ok=True)


def give_away(root: Path) -> None:
    """Have all files belong to the users whom a container maps; the kernel takes s-bits away."""
    for base, folders, files in os.walk(root):
        for name in (".", *files, *(f for f in folders if os.path.islink(os.path.join(base, f)))):
            path = os.path.join(base, name)
            known = os.lstat(path)
            os.lchown(path, known.st_uid + FIRST_USER, known.st_gid + FIRST_USER)
            if not os.path.islink(path):
                os.chmod(path, known.st_mode & 0o7777)
