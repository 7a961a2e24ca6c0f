"""A stock libvirtd in namespaces of its own, to measure beside ours.

    python -m bench.stock --make DIR        install Debian 12 with stock libvirt (debootstrap)
    python -m bench.stock DIR COMMAND …     run a command beside it; {socket} is its libvirt-sock

Owns: the processes of that daemon, and their mount, network and process namespaces. Nothing on the
machine sees its sockets, bridges or guests, and all of it ends with the context. It needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from bench.process_times import children
from bench.sides import Side

CHROOT: Final = Path("/srv/stock")  # where `./dev bench --with-stock` looks
START_S: Final = 60.0
PACKAGES: Final = (
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "seabios",
    "ipxe-qemu",
    "dnsmasq-base",
    "iproute2",
    "iptables",
    "procps",
)
#: $1 is the chroot, $2 a folder for its files, the rest are arguments of libvirtd. Its files are on
#: disk, as ours are, but for /run. The shell is the init of its namespace: it reaps the guests that
#: libvirtd's double fork leaves to it.
#: There is no /dev/kvm: one that does not work is probed at each call.
SCRIPT: Final = """
set -eu
root=$1 files=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"  # without what is mounted below: libvirt moves what is below /dev
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mknod -m 666 "$root/dev/net/tun" c 10 200
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for folder in var/lib/libvirt etc/libvirt var/cache/libvirt var/log/libvirt tmp; do
    mkdir -p "$files/$folder" "$root/$folder"
    [ "$folder" != etc/libvirt ] || cp -an "$root"/etc/libvirt/*.conf "$files/etc/libvirt"
    mount --bind "$files/$folder" "$root/$folder"
done
chmod 1777 "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/lock" "$root/run/libvirt"
ip link set lo up
cd "$root"
pivot_root . .  # no chroot: libvirtd enters guests' mount namespaces, and there a chroot is lost
umount -l .
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
virtlogd 2>/var/log/libvirt/virtlogd.err &
export SASL_CONF_PATH=/etc/libvirt/sasl2:/etc/sasl2
libvirtd "$@" --pid-file /run/libvirt/libvirtd.pid 2>/var/log/libvirt/libvirtd.err &
wait
"""


class Stock:
    """A stock libvirtd of a chroot; a context manager that leaves nothing behind."""

    def __init__(
        self,
        chroot: Path = CHROOT,
        fill: Callable[[Path], None] = lambda _: None,
        arguments: Sequence[str] = (),
    ) -> None:
        """Start nothing yet.

        Args:
            chroot: where `--make` made it.
            fill: puts files into its /etc/libvirt before it starts.
            arguments: of libvirtd.
        """
        self._chroot = chroot
        self._arguments = arguments
        self._fill = fill
        self._process: subprocess.Popen[bytes] | None = None
        self._files = ""
        self._init = 0  # of its process namespace, as we see it

    @property
    def root(self) -> Path:
        """Its root folder, with its own mounts, as we see it."""
        return Path(f"/proc/{self._init}/root")

    @property
    def network(self) -> Path:
        """The file of its network namespace."""
        return Path(f"/proc/{self._init}/ns/net")

    @property
    def socket(self) -> Path:
        """Its read-write socket, as we see it."""
        return self.root / "run/libvirt/libvirt-sock"

    @property
    def uri(self) -> str:
        """The address of its read-write socket."""
        return f"qemu+unix:///system?socket={self.socket}"

    def pids(self) -> list[int]:
        """Return the processes that do libvirtd's work: libvirtd alone."""
        return [pid for pid in children(self._init) if name_of(pid) == "libvirtd"]

    @property
    def side(self) -> Side:
        """Describe it to a comparison."""
        return Side("stock", self.uri, self.pids, self.root, self.root / "tmp", Path("/tmp"))

    def __enter__(self) -> Stock:
        self._files = tempfile.mkdtemp(prefix="bench-", dir=self._chroot / "var/tmp")
        settings = Path(self._files) / "etc/libvirt"
        settings.mkdir(parents=True)
        self._fill(settings)
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/bash", "-c"]
        self._process = subprocess.Popen(
            [*argv, SCRIPT, "stock", self._chroot, self._files, *self._arguments]
        )
        until = time.monotonic() + START_S
        while not (self._init and self.socket.exists()):
            if self._process.poll() is not None or time.monotonic() > until:
                printed = (Path(self._files) / "var/log/libvirt/libvirtd.err").read_text()
                self.__exit__(None, None, None)
                raise RuntimeError(f"no libvirtd of {self._chroot}: {printed[-2000:]}")
            self._init = next(iter(children(self._process.pid)), 0)
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.kill()  # with it dies its init, and with that all of the namespace
        self._process.wait()
        shutil.rmtree(self._files, ignore_errors=True)


def name_of(pid: int) -> str:
    """The short name of a process; "" when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def make(folder: Path) -> None:
    """Install Debian 12 with stock libvirt; its services do not start on this machine."""
    include = f"--include={','.join(PACKAGES)}"
    argv = ["debootstrap", "--variant=minbase", include, "bookworm", str(folder)]
    subprocess.run(argv, check=True, env={**os.environ, "RUNLEVEL": "1"})


def main() -> int:
    """Make a chroot, or run a command beside its daemon."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--make", action="store_true")
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.make:
        make(options.folder)
        return 0
    with Stock(options.folder) as stock:
        argv = [word.replace("{socket}", str(stock.socket)) for word in options.command]
        return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
