"""A machine with Debian, whose process 1 is systemd, on a layer above the kept disk.

Owns: the machine and the layer. May touch: the kept disk, to read.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Final

from tests.clients.guest import BUSYBOX, Cpio
from tests.integration.rig.kernel import CACHE, keep, modules
from tests.integration.rig.machine import COMMAND_LINE, QEMU, Machine, Shape, shared
from tests.integration.rig.scripts import READY
from tests.integration.service.image import Image, image

BOOT_S: Final = 3600.0  # on a busy host, with the end before a boot
#: ext4 asks for its checksums by an alias, which insmod does not know.
MODULES: Final = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "virtio_console")
#: systemd's own unit for a terminal would take the rig's console. AppArmor tells what it denies
#: through audit.
WORDS: Final = (
    COMMAND_LINE.replace("audit=0 ", "")
    + " root=/dev/vda rw systemd.getty_auto=0 systemd.show_status=0"
)
#: The machine's time is the number of its instructions (2 ns each) where it works, the host's where
#: it waits: on a busy host it is slow, and no deadline inside passes early for that. One processor:
#: with more, the kernel's patches of its own code crash QEMU's emulation now and then.
CLOCK: Final = ("-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=1,sleep=on")
INIT: Final = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /order); do insmod /modules/$module; done
mkdir -p /new
mount -t ext4 /dev/vda /new || { echo "<3>rig: no root" >/dev/kmsg; poweroff -f; }
for folder in dev proc sys; do mount --move /$folder /new/$folder; done
exec switch_root /new /lib/systemd/systemd
"""


class ServiceHost(Machine):
    """A machine that can be booted again; commands run in a service of its systemd."""

    boot_s = BOOT_S

    def __init__(self, suite: str, shape: Shape, *, libvirt: bool = False) -> None:
        """Describe it.

        Args:
            suite: Debian's release.
            shape: its memory; it has one processor.
            libvirt: libvirt's own daemon is installed.
        """
        super().__init__(shape)
        self._image: Image = image(suite, libvirt=libvirt)
        self._layer = self.folder / "layer.qcow2"

    def command(self, console: int) -> list[str]:
        """QEMU's command line; the console is a descriptor that it inherits."""
        if not self._layer.exists():
            base = ("-b", str(self._image.disk), "-F", "raw")
            words = ("qemu-img", "create", "-q", "-f", "qcow2", *base, str(self._layer))
            subprocess.run(words, check=True, timeout=60)
        shape = self.shape
        drive = f"if=none,id=root,format=qcow2,file={self._layer},cache=unsafe"
        return [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-cpu", "EPYC,+svm", *CLOCK, "-m", str(shape.memory_mib),
            "-kernel", str(self._image.kernel), "-initrd", str(initramfs(self._image.kernel)),
            "-append", WORDS,
            "-device", "virtio-rng-pci", "-serial", f"file:{self.console_log}",
            "-drive", drive, "-device", "virtio-blk-pci,drive=root",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=console,fd={console}",
            "-device", "virtconsole,chardev=console", *shared("rig", self.shared),
        ]  # fmt: skip

    def reboot(self) -> None:
        """Boot it again, in order, until it takes commands.

        Raises:
            RigError: it does not come up.
        """
        self.run("systemd-run --on-active=1 systemctl reboot", 600.0)
        self._expect(READY, BOOT_S)


def initramfs(kernel: Path) -> Path:
    """An initramfs that mounts the disk, from the cache where it is there."""
    cpio = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        cpio.add(folder, 0o040755)
    cpio.add("bin/busybox", 0o100755, BUSYBOX.read_bytes())
    cpio.add("bin/sh", 0o120777, b"busybox")
    loaded = modules(kernel, MODULES)
    for name, content in loaded:
        cpio.add(f"modules/{name}", 0o100644, content)
    cpio.add("order", 0o100644, "\n".join(name for name, _ in loaded).encode())
    cpio.add("init", 0o100755, INIT.encode())
    data = cpio.finish()
    path = CACHE / f"initramfs-{hashlib.sha256(data).hexdigest()[:16]}"
    if not path.exists():
        keep(path, data)
    return path
