"""A host's guests, networks and pools go from libvirt's own daemon to ours and back, and run on.

The daemons run on the default paths, in a mount and a network namespace with empty folders.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from conf.domain import parse_domain
from supervisor.workers.cgroups.hierarchies import SLICE
from tests.cgroups import remove_groups
from tests.clients.daemon import LIBVIRTD, PATIENCE, VIRTVISORCTL

STOCK: Final = Path("/usr/sbin/libvirtd")
IS_STOCK: Final = STOCK.exists() and b"virtvisor" not in STOCK.read_bytes()[:4096]

pytestmark = [
    pytest.mark.elsewhere("libvirt-daemon-system"),
    pytest.mark.skipif(not IS_STOCK, reason="needs libvirt's own libvirtd at /usr/sbin/libvirtd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the default paths are root's"),
]

FOLDERS: Final = "/etc/libvirt /var/lib/libvirt /run/libvirt /var/cache/libvirt /var/log/libvirt"
DOMAIN: Final = """<domain type='qemu'><name>{name}</name><memory>65536</memory>
<vcpu current='1'>2</vcpu><os><type arch='x86_64' machine='{machine}'>hvm</type></os>
<features><acpi/></features><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='network'><source network='lab'/><model type='virtio'/></interface>
<serial type='pty'/><channel type='unix'><target type='virtio' name='a.0'/></channel>
<memballoon model='none'/></devices></domain>"""
NETWORK: Final = """<network><name>lab</name><forward mode='nat'/><bridge name='virbr9'/>
<ip address='10.99.0.1' netmask='255.255.255.0'><dhcp><range start='10.99.0.2' end='10.99.0.9'/>
</dhcp></ip></network>"""
#: Says what each daemon sees; the first word of a line is a name for what follows.
STORY: Final = r"""
set -u
cd {folder}
cp -a /etc/libvirt etc 2>/dev/null || mkdir etc
for path in {folders}; do mkdir -p $path; mount -t tmpfs -o mode=755 test $path; done
cp etc/libvirtd.conf etc/qemu.conf /etc/libvirt 2>/dev/null
echo 'namespaces = []' >> /etc/libvirt/qemu.conf
printf 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n' >> /etc/libvirt/libvirtd.conf
echo 'stdio_handler = "file"' >> /etc/libvirt/qemu.conf
ip link set lo up
begin() {{ "$@" >> log 2>&1 & daemon=$!
    for try in $(seq {tries}); do virsh uri >/dev/null 2>&1 && return; sleep 0.05; done; }}
end() {{ kill $daemon; wait $daemon; }}
stock() {{ begin env -i PATH=$PATH {stock} --pid-file /run/libvirt/stock.pid; }}
ours() {{ begin env HOME=/root {ours} --pid-file /run/libvirt/ours.pid; }}
look() {{ mkdir $1; for name in $(virsh list --name); do
        virsh dumpxml --security-info $name > $1/$name.xml
        {{ virsh domid $name; virsh domstate --reason $name; cat /run/libvirt/qemu/$name.pid
          }} > $1/$name.state; done
    {{ virsh net-list --name; virsh net-port-list lab; cat /run/libvirt/network/lab.pid
      virsh pool-list --name; }} > $1/host; }}
stock
virsh net-create lab.xml; virsh pool-create-as dir dir --target {folder}
virsh define one.xml; virsh start one; virsh suspend one
look 1
end
{ctl} takeover --check > check; echo $? >> check
ours
look 2
virsh resume one
virsh qemu-monitor-command one '{{"execute":"query-status"}}' > monitor
virsh attach-disk one {folder}/plugged.raw vdb --subdriver raw > plugged 2>&1
virsh create two.xml
look 3
end
stock
look 4
virsh attach-disk two {folder}/second.raw vdb --subdriver raw >> plugged 2>&1
virsh destroy one; virsh destroy two; virsh net-destroy lab
virsh list --name --all > left
end
stat -c '%u:%g' one.qcow2 two.qcow2 plugged.raw > owners
"""


@dataclass(frozen=True)
class Told:
    """What the story has written."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return (self.folder / name).read_text()

    def guests(self, moment: int) -> list[str]:
        """The names of the guests that ran."""
        return sorted(path.stem for path in (self.folder / str(moment)).glob("*.state"))


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    folder = Path("/tmp") / f"vv-takeover-{os.getpid()}"
    folder.mkdir(mode=0o755)
    for name in ("one", "two"):
        disk, machine = folder / f"{name}.qcow2", {"one": "pc", "two": "q35"}[name]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
        os.chown(disk, 1001, 1002)
        xml = DOMAIN.format(name=name, machine=machine, disk=disk)
        (folder / f"{name}.xml").write_text(xml)
    for name in ("plugged.raw", "second.raw"):
        (folder / name).write_bytes(bytes(1 << 20))
    (folder / "lab.xml").write_text(NETWORK)
    story = STORY.format(
        folder=folder,
        folders=FOLDERS,
        stock=STOCK,
        ours=LIBVIRTD,
        ctl=VIRTVISORCTL,
        tries=int(300 * PATIENCE),
    )
    subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", story],
        capture_output=True,
        timeout=120 * PATIENCE,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    yield Told(folder)
    shutil.rmtree(folder)
    # libvirt's daemon does not remove the group that ours has made.
    remove_groups({f"{SLICE}/qemu-2-two.libvirt-qemu"})


def test_it_is_said_beforehand_what_comes_along(told: Told) -> None:
    kinds = [line.split() for line in told["check"].splitlines()]
    assert kinds[:-1] == [
        ["guest", "one", "comes", "along"],
        ["network", "lab", "comes", "along"],
        ["pool", "dir", "comes", "along"],
    ]
    assert kinds[-1] == ["0"]


def test_our_daemon_takes_over_what_libvirts_has_left(told: Told) -> None:
    assert told.guests(1) == told.guests(2) == ["one"]
    assert told["2/one.state"] == told["1/one.state"]
    assert told["2/one.xml"] == told["1/one.xml"]
    assert told["2/host"] == told["1/host"]
    assert '"running": true' in told["monitor"]


def test_libvirts_daemon_takes_over_its_guests_again_and_those_of_ours(told: Told) -> None:
    assert told.guests(3) == told.guests(4) == ["one", "two"]
    for name in ("one", "two"):
        assert told[f"4/{name}.state"] == told[f"3/{name}.state"]
        ours, stocks = (parse_domain(told[f"{moment}/{name}.xml"]) for moment in (3, 4))
        assert ours.devices.disks == stocks.devices.disks
        assert ours.devices.interfaces == stocks.devices.interfaces
        assert ours.devices.serials == stocks.devices.serials
    assert told["4/host"] == told["3/host"]


def test_devices_are_plugged_in_either_place_and_files_get_their_owners_back(told: Told) -> None:
    assert told["plugged"].count("Disk attached successfully") == 2
    assert told["left"].split() == ["one"]
    one, two, plugged = told["owners"].split()
    assert plugged == "0:0"
    if Path("/var/run/utmp").exists():
        # Without it libvirt may count the boot's time otherwise than at its last start, and takes
        # an owner of an earlier boot for forgotten: also one that it has remembered itself.
        assert (one, two) == ("1001:1002", "1001:1002")
