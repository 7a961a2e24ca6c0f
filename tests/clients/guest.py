"""The tiny Linux guest that the demo and the tests boot: Debian's kernel and a busybox initramfs.

Owns: the contents of that initramfs. May read: /boot, /lib/modules and the busybox binary.
May not touch: the daemon, or anything outside the folder of its argument.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUSYBOX: Final = Path("/bin/busybox")
QEMU_GA: Final = Path("/usr/sbin/qemu-ga")  # Debian's qemu-guest-agent
READY: Final = "virtvisor guest ready"

# Loaded in this order: each comes after what it needs.
MODULES: Final = (
    "drivers/acpi/button.ko",
    "drivers/misc/pvpanic/pvpanic.ko",
    "drivers/misc/pvpanic/pvpanic-mmio.ko",
    "drivers/input/evdev.ko",
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/virtio/virtio_balloon.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/char/virtio_console.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)

INIT: Final = f"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in $(cat /modules/order); do insmod /modules/$module; done
hostname tiny
case "$(cat /proc/cmdline)" in
    *then=poweroff*) poweroff -f ;;
    *then=reboot*) reboot -f ;;
    *then=panic*) echo c >/proc/sysrq-trigger ;;
    *then=agent*) /bin/agent ;;
    *then=relay*) /bin/relay org.qemu.guest_agent.0 test.relay.0 ;;
    *then=dhcp*) ip link set eth0 up; udhcpc -i eth0 -n -q -t 30 -T 1 -s /bin/lease ;;
esac
acpid -l /dev/null
echo "{READY}"
exec getty -n -l /bin/welcome 115200 ttyS0 vt100
"""

WELCOME: Final = """#!/bin/sh
while true; do
    printf 'tiny login: '
    read -r name || exec sleep 1
    [ -n "$name" ] && break
done
echo "welcome, $name"
exec sh
"""

LEASE: Final = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
echo "has address $ip"
"""

# Copies between two virtio ports, so that a test on the host can play a program of the guest.
# A read returns at once while nobody is connected on the host.
RELAY: Final = """#!/bin/sh
port() {
    for each in /sys/class/virtio-ports/*; do
        [ "$(cat "$each/name")" = "$1" ] && echo "/dev/${each##*/}"
    done
}
exec 3<>"$(port "$1")" 4<>"$(port "$2")"
while true; do cat <&3 >&4; sleep 0.05; done &
while true; do cat <&4 >&3; sleep 0.05; done &
"""

# The real guest agent, where the guest was built with it.
AGENT: Final = """#!/bin/sh
mkdir -p /run
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
echo 'ID=tiny' >/etc/os-release
for each in /sys/class/virtio-ports/*; do
    [ "$(cat "$each/name")" = org.qemu.guest_agent.0 ] &&
        qemu-ga -d -m virtio-serial -p "/dev/${each##*/}" -t /run -f /run/qemu-ga.pid
done
"""

POWER: Final = """#!/bin/sh
echo "power button: shutting down"
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """What `<kernel>`, `<initrd>` and `<cmdline>` of a tiny guest name.

    With `then=poweroff`, `then=reboot` or `then=panic` on its command line it does just that; with
    `then=dhcp` it asks for an address first, with `then=agent` it starts its guest agent.
    """

    kernel: Path
    initrd: Path
    cmdline: str = "console=ttyS0 mitigations=off tsc=reliable no_timer_check quiet panic=-1"


class Cpio:
    """A "newc" archive in memory, the form in which the kernel takes an initramfs."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def add(
        self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        """Append one entry; `mode` includes the file type bits."""
        self._inode += 1
        encoded = name.encode() + b"\0"
        numbers = (
            self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0,
        )  # fmt: skip
        self._data += b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
        self._pad()
        self._data += content
        self._pad()

    def finish(self) -> bytes:
        """Close the archive and return it."""
        self.add("TRAILER!!!", 0)
        return bytes(self._data)

    def _pad(self) -> None:
        self._data += b"\0" * (-len(self._data) % 4)


def newest_kernel(boot: Path = Path("/boot")) -> Path:
    """Find the newest Debian cloud kernel.

    Raises:
        FileNotFoundError: none is installed; the message names the package.
    """
    kernels = sorted(boot.glob("vmlinuz-*-cloud-amd64"), key=lambda path: path.stat().st_mtime)
    if not kernels:
        raise FileNotFoundError("no /boot/vmlinuz-*-cloud-amd64: install linux-image-cloud-amd64")
    return kernels[-1]


def initramfs(release: str, *, with_agent: bool = False) -> bytes:
    """Make the initramfs for kernel `release`: busybox, an init, and the modules it loads.

    Args:
        release: the kernel's.
        with_agent: whether it has this machine's qemu-guest-agent, too.
    """
    cpio = Cpio()
    for folder in (
        "bin",
        "dev",
        "proc",
        "sys",
        "etc",
        "etc/acpi",
        "etc/acpi/PWRF",
        "modules",
        "root",
    ):
        cpio.add(folder, 0o040755)
    cpio.add("dev/console", 0o020600, device=(5, 1))
    cpio.add("bin/busybox", 0o100755, BUSYBOX.read_bytes())
    cpio.add("init", 0o100755, INIT.encode())
    cpio.add("bin/welcome", 0o100755, WELCOME.encode())
    cpio.add("bin/lease", 0o100755, LEASE.encode())
    cpio.add("bin/relay", 0o100755, RELAY.encode())
    if with_agent:
        cpio.add("bin/agent", 0o100755, AGENT.encode())
        add_program(cpio, QEMU_GA)
    cpio.add("etc/acpi/PWRF/00000080", 0o100755, POWER.encode())
    contents = {Path(module).name: read_module(release, module) for module in MODULES}
    loadable = {name: data for name, data in contents.items() if data is not None}
    for name, data in loadable.items():
        cpio.add(f"modules/{name}", 0o100644, data)
    order = "\n".join(loadable) + "\n"
    cpio.add("modules/order", 0o100644, order.encode())
    return cpio.finish()


def add_program(cpio: Cpio, program: Path) -> None:
    """Add a program of this machine as bin/NAME, and the libraries that it loads."""
    cpio.add(f"bin/{program.name}", 0o100755, program.read_bytes())
    listed = subprocess.run(["ldd", str(program)], capture_output=True, check=True, text=True)
    made: set[str] = set()
    for library in re.findall(r"/\S+", listed.stdout):
        path = Path(library)
        for folder in reversed(path.parents):
            name = str(folder).lstrip("/")
            if name and name not in made:
                made.add(name)
                cpio.add(name, 0o040755)
        cpio.add(library.lstrip("/"), 0o100755, path.read_bytes())


def read_module(release: str, module: str) -> bytes | None:
    """Read a module of kernel `release`; None: it is built in. Debian 13 compresses modules."""
    folder = Path("/lib/modules") / release
    path = folder / "kernel" / module
    if path.exists():
        return path.read_bytes()
    packed = path.with_name(f"{path.name}.xz")
    if packed.exists():
        return lzma.decompress(packed.read_bytes())
    assert f"kernel/{module}" in (folder / "modules.builtin").read_text().split(), module
    return None


def build_guest(folder: Path, *, with_agent: bool = False) -> Guest:
    """Put the kernel and its initramfs into `folder`, readable by QEMU's user."""
    kernel = newest_kernel()
    folder.mkdir(parents=True, exist_ok=True)
    guest = Guest(kernel=folder / "vmlinuz", initrd=folder / "initrd.gz")
    shutil.copyfile(kernel, guest.kernel)
    files = initramfs(kernel.name.removeprefix("vmlinuz-"), with_agent=with_agent)
    guest.initrd.write_bytes(gzip.compress(files, 1))
    for path in (guest.kernel, guest.initrd):
        path.chmod(0o644)
    return guest


if __name__ == "__main__":
    built = build_guest(Path(sys.argv[1]))
    sys.stdout.write(f"{built.kernel}\n{built.initrd}\n{built.cmdline}\n")
