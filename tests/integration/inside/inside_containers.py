"""Containers on a full kernel with version 2 of cgroups alone, and one of Debian's own programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boxing import Boxes, boxes
from containers import container
from stock import libvirt
from watching import wait_until

SHAPE = {"cpus": 2}
PACKAGES = {
    "/usr/bin/virsh": "libvirt-clients",
    "/usr/bin/lxc-start": "lxc",
    "/usr/bin/busybox": "busybox-static",
}
GROUPS = Path("/sys/fs/cgroup/virtvisor.slice")
LIMITS = (
    "<memtune><hard_limit unit='MiB'>48</hard_limit></memtune>"
    "<cputune><shares>300</shares><period>50000</period><quota>25000</quota></cputune>"
)


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    """A daemon of containers."""
    with boxes() as held:
        yield held


def group(name: str) -> Path:
    found = [path for path in GROUPS.glob(f"lxc-{name}-*") if not path.name.endswith(".monitor")]
    assert len(found) == 1
    return found[0]


def test_limits_hold_and_processes_stand_still_in_version_2(box: Boxes) -> None:
    xml = container("two", box.rootfs).replace("<vcpu>1</vcpu>", f"<vcpu>1</vcpu>{LIMITS}")
    domain = box.link.createXML(xml)
    folder = group("two")
    assert (folder / "memory.max").read_text().strip() == str(48 << 20)
    assert (folder / "cpu.weight").read_text().strip() == "300"
    assert (folder / "cpu.max").read_text().strip() == "25000 50000"
    domain.suspend()
    assert "frozen 1" in (folder / "cgroup.events").read_text()
    domain.resume()
    assert "frozen 0" in (folder / "cgroup.events").read_text()
    domain.setMemoryParameters({"hard_limit": 65536}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert (folder / "memory.max").read_text().strip() == str(64 << 20)
    assert domain.memoryStats()["rss"] > 0
    assert domain.getCPUStats(True)[0]["cpu_time"] > 0
    domain.suspend()
    domain.destroy()
    assert list(GROUPS.glob("lxc-two-*")) == []


def test_memory_beyond_the_limit_ends_its_user_alone(box: Boxes) -> None:
    greedy = box.rootfs / "sbin/greedy"
    greedy.write_text("#!/bin/sh\ntail /dev/zero\nwhile :; do sleep 9; done\n")
    greedy.chmod(0o755)
    xml = container("hungry", box.rootfs, init="/sbin/greedy")
    domain = box.link.createXML(xml.replace("<vcpu>1</vcpu>", f"<vcpu>1</vcpu>{LIMITS}"))
    events = group("hungry") / "memory.events"
    wait_until("a process was killed", lambda: "oom_kill 0" not in events.read_text(), 120)
    assert domain.isActive()
    domain.destroy()


def test_devices_are_refused_but_those_that_are_given(box: Boxes) -> None:
    device = (
        "<hostdev mode='capabilities' type='misc'><source><char>/dev/kmsg</char></source></hostdev>"
    )
    domain = box.link.createXML(container("nodes", box.rootfs, idmap=""))
    box.shell("nodes", "head -c 1 < /dev/zero > /dev/null")
    domain.attachDevice(device)
    assert "kmsg" in box.inside("nodes", "/bin/ls", "/dev")
    domain.detachDevice(device)
    domain.destroy()


def test_debian_s_own_programs_run_over_the_host_s_files_read_only(box: Boxes) -> None:
    root = box.rootfs.parent / "debian"
    for name in ("usr", "etc", "dev", "proc", "sys", "tmp", "run", "var/lib/dpkg"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/bash\n")
    below = (
        "<filesystem type='mount'><source dir='/usr'/><target dir='/usr'/><readonly/></filesystem>"
        "<filesystem type='ram'><source usage='8' units='MiB'/><target dir='/tmp'/></filesystem>"
    )
    xml = container("debian", root, init="/bin/bash", extra=below)
    words = "<initarg>-c</initarg><initarg>trap 'exit 0' TERM; while :; do sleep 1; done</initarg>"
    domain = box.link.createXML(xml.replace("</init>", f"</init>{words}"))
    assert "Debian" in box.inside("debian", "/bin/bash", "-c", "dpkg --version")
    told = box.inside("debian", "/bin/bash", "-c", "touch /usr/new || echo refused", check=False)
    assert "refused" in told
    domain.shutdown()
    wait_until("it is off", lambda: box.link.listAllDomains() == [])
