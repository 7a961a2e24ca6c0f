"""What runs inside before a test does: in the initramfs, then in the host's root.

Owns: both scripts. They talk to the rig by the kernel's log and by the virtual console.
"""

from __future__ import annotations

from typing import Final

#: Loaded before the root is mounted.
MODULES: Final = (
    "virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay",
)  # fmt: skip
READY: Final = "rig: ready"
FAILED: Final = "rig: failed"
HOST: Final = "/run/rig"  # where the rig's folder is inside

FIRST: Final = f"""#!/bin/busybox sh
# The host's root, read-only, under a layer in memory that takes whatever is written.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
give_up() {{ echo "<3>{FAILED}: $*" >/dev/kmsg; poweroff -f; }}
for module in $(cat /order); do insmod /modules/$module || give_up "module $module"; done
mkdir -p /host /layer /new
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /host \\
    || give_up "the host's root"
mount -t tmpfs -o mode=755,size=80% layer /layer
mkdir /layer/up /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/up,workdir=/layer/work root /new \\
    || give_up "the layer above it"
mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new{HOST}
cp /second /new/run/second
rm -f /new/.dockerenv  # udev would take this machine for a container
for folder in dev proc sys; do mount --move /$folder /new/$folder; done
exec switch_root /new /run/second
"""

SECOND: Final = f"""#!/bin/sh
# As much of an init as tests need, then one command after the other from the console.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=dumb
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
rm -f /etc/mtab; ln -s /proc/self/mounts /etc/mtab
hostname rig
printf '127.0.0.1 localhost rig\\n::1 localhost\\n' >/etc/hosts
ip link set lo up
/lib/systemd/systemd-udevd --daemon 2>/dev/null
udevadm trigger --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=misc
udevadm settle
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none rig {HOST} \\
    || {{ echo "<3>{FAILED}: the rig's folder" >/dev/kmsg; poweroff -f; }}
exec 3<>/dev/hvc0  # it forgets its settings when the last one closes it
stty raw -echo <&3
echo "{READY}" >&3
while IFS= read -r number <&3; do
    setsid -w bash {HOST}/$number.sh </dev/null >{HOST}/$number.out 2>&1 3>&-
    echo "ended $number $?" >&3
done
"""
