"""Isolation, limits, consoles, networks and devices of containers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

NETWORK = (
    "<network><name>lab</name><forward mode='nat'/><bridge name='vvbox' stp='off' delay='0'/>"
    "<ip address='10.87.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.87.0.100' end='10.87.0.199'/></dhcp></ip></network>"
)
PRIVATE = "<features><privnet/></features>"


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        held.link.networkCreateXML(NETWORK)
        try:
            yield held
        finally:
            held.end_all()
            held.link.networkLookupByName("lab").destroy()
            links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
            assert "vnet" not in links.stdout


@pytest.fixture(autouse=True)
def no_container_is_left(box: Boxes) -> Iterator[None]:
    yield
    box.end_all()


def started(box: Boxes, name: str, *, features: str = PRIVATE, tune: str = "", **words: Any) -> Any:
    xml = container(name, box.rootfs, **words)
    domain = box.link.createXML(
        xml.replace("<devices>", f"{features}<devices>").replace(
            "<vcpu>1</vcpu>", f"<vcpu>1</vcpu>{tune}"
        )
    )
    return domain


def interface(number: int, extra: str = "") -> str:
    return (
        f"<interface type='network'><mac address='52:54:00:87:00:{number:02x}'/>"
        f"<source network='lab'/>{extra}</interface>"
    )


def test_a_container_sees_no_process_network_or_device_of_the_host(box: Boxes) -> None:
    started(box, "alone")
    processes = box.inside("alone", "/bin/ps", "-o", "comm").split()
    assert set(processes) <= {"COMMAND", "init", "sleep", "ps", "sh"}
    links = box.inside("alone", "/bin/ip", "-o", "link").strip().splitlines()
    assert [line.split(":")[1].strip() for line in links] == ["lo"]
    devices = set(box.inside("alone", "/bin/ls", "/dev").split())
    assert devices <= {
        *("console", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin"),
        *("stdout", "tty", "tty1", "urandom", "zero", "mqueue", "core", "initctl"),
    }
    mapped = box.shell("alone", "cat /proc/1/uid_map").split()
    assert mapped == ["0", "200000", "65536"]


def test_a_container_is_killed_above_its_memory_limit(box: Boxes) -> None:
    domain = started(box, "small", tune="<memtune><hard_limit unit='MiB'>32</hard_limit></memtune>")
    greedy = box.rootfs / "sbin/greedy"
    greedy.write_text(
        "#!/bin/sh\ntail /dev/zero\necho over $? > /dev/pts/0\nwhile :; do sleep 9; done\n"
    )
    greedy.chmod(0o755)
    hungry = started(
        box, "hungry", init="/sbin/greedy",
        tune="<memtune><hard_limit unit='MiB'>32</hard_limit>"
        "<swap_hard_limit unit='MiB'>32</swap_hard_limit></memtune>",
    )  # fmt: skip
    pid = box.worker("hungry")
    wait_until("it was killed", lambda: "sleep" in box.inside("hungry", "/bin/ps", "-o", "comm"))
    assert hungry.isActive()
    assert domain.isActive()
    assert box.worker("hungry") == pid
    assert hungry.memoryStats()["rss"] <= 32 * 1024


def test_cpu_time_is_divided_by_shares(box: Boxes) -> None:
    busy = box.rootfs / "sbin/busy"
    busy.write_text("#!/bin/sh\nwhile :; do :; done\n")
    busy.chmod(0o755)
    domains = [
        started(
            box, f"busy{shares}", init="/sbin/busy",
            tune=f"<cputune><shares>{shares}</shares></cputune>",
        )
        for shares in (2048, 256)
    ]  # fmt: skip
    cpus = sorted(os.sched_getaffinity(0))[0]
    for name in ("busy2048", "busy256"):  # on one processor, so that they must share
        monitor = int((box.daemon.root / f"run/libvirt/lxc/{name}.pid").read_text())
        children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        os.sched_setaffinity(int(children[0]), {cpus})
    first = [domain.info()[4] for domain in domains]

    def used() -> list[int]:
        return [domain.info()[4] - start for domain, start in zip(domains, first, strict=True)]

    wait_until("a second of work", lambda: sum(used()) > 1_000_000_000)
    many, few = used()
    assert many > 2 * few


def test_a_container_s_tasks_are_limited(box: Boxes) -> None:
    started(box, "tasks")
    # Not by rglob, which fails when a cgroup of another test is removed meanwhile.
    files = [group / "pids.max" for group in groups("tasks") if group.suffix != ".monitor"]
    (limit,) = (path for path in files if path.exists())
    most = int(Path("/proc/sys/kernel/pid_max").read_text()) * 15 // 100
    assert int(limit.read_text()) == most
    limit.write_text(limit.with_name("pids.current").read_text())  # no task more
    crowd = box.inside("tasks", "/bin/sh", "-c", "true | true", check=False)
    assert crowd.strip() == "" or "fork" in crowd


def test_every_console_is_a_terminal_of_the_container(box: Boxes) -> None:
    talker = box.rootfs / "sbin/talker"
    talker.write_text(
        "#!/bin/sh\n(while read line; do echo two:$line; done) < /dev/tty2 > /dev/tty2 &\n"
        "while read line; do echo one:$line; done < /dev/console > /dev/console\nsleep 1000\n"
    )
    talker.chmod(0o755)
    domain = started(box, "talks", init="/sbin/talker", extra="<console type='pty'/>")
    for alias, word in ((None, b"one:hello"), ("console1", b"two:hello")):
        stream = box.link.newStream()
        domain.openConsole(alias, stream)
        with pytest.raises(libvirt.libvirtError, match="Active console session"):
            domain.openConsole(alias, box.link.newStream())
        stream.send(b"hello\n")
        heard = b""
        while word not in heard:
            heard += stream.recv(1024)
        stream.abort()
    former, latter = box.link.newStream(), box.link.newStream()
    domain.openConsole(None, former)
    domain.openConsole(None, latter, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    assert former.recv(1024) in (b"", b"\r\n")
    latter.send(b"again\n")
    heard = b""
    while b"one:again" not in heard:
        heard += latter.recv(1024)
    latter.abort()


def test_a_container_gets_its_address_by_dhcp_from_a_nat_network(box: Boxes) -> None:
    domain = started(box, "net", features="", extra=interface(1), idmap="")
    box.shell("net", "ip link set eth0 up; udhcpc -f -q -n -i eth0 -s /etc/udhcpc")
    found = re.search(r"inet (10\.87\.0\.\d+)/24", box.inside("net", "/bin/ip", "addr"))
    assert found
    box.inside("net", "/bin/ping", "-c", "1", "-W", "3", "10.87.0.1")
    network = box.link.networkLookupByName("lab")
    # dnsmasq writes a lease down after its answer.
    wait_until("the lease", lambda: [each["ipaddr"] for each in network.DHCPLeases()] == [found[1]])
    device = re.search(r"<target dev='(vnet\d+)'/>", domain.XMLDesc())
    assert device
    counted = domain.interfaceStats(device[1])
    assert counted[0] > 0
    assert counted[4] > 0


def test_an_unprivileged_container_has_the_addresses_and_routes_of_its_xml(
    box: Boxes,
) -> None:
    elements = (
        "<ip address='10.87.0.7' family='ipv4' prefix='24'/>"
        "<route family='ipv4' address='0.0.0.0' gateway='10.87.0.1'/>"
        "<route family='ipv4' address='192.0.2.0' prefix='24' gateway='10.87.0.2'/>"
        "<guest dev='front0'/>"
    )
    domain = started(box, "fixed", features="", extra=interface(2, elements))
    assert "10.87.0.7/24" in box.inside("fixed", "/bin/ip", "addr", "show", "front0")
    routes = box.inside("fixed", "/bin/ip", "route")
    assert "default via 10.87.0.1 dev front0" in routes
    assert "192.0.2.0/24 via 10.87.0.2 dev front0" in routes
    assert "<guest dev='front0' actual='front0'/>" in domain.XMLDesc()


def test_interfaces_are_attached_and_detached_while_a_container_runs(box: Boxes) -> None:
    domain = started(box, "plugs")
    elements = "<ip address='10.87.0.8' family='ipv4' prefix='24'/>"
    domain.attachDevice(interface(3, elements))
    assert "10.87.0.8/24" in box.inside("plugs", "/bin/ip", "addr", "show", "eth0")
    with pytest.raises(libvirt.libvirtError):
        domain.attachDevice(interface(4, "<ip address='10.87.0.8' family='ipv4' prefix='77'/>"))
    assert "eth1" not in box.inside("plugs", "/bin/ip", "link")
    down = interface(3, elements + "<link state='down'/>")
    domain.updateDeviceFlags(down, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert "M-DOWN" in box.inside("plugs", "/bin/ip", "link", "show", "eth0")
    domain.detachDevice(interface(3))
    assert "eth0" not in box.inside("plugs", "/bin/ip", "link")
    assert "<interface" not in domain.XMLDesc()


def test_host_devices_are_attached_and_detached_while_a_container_runs(box: Boxes) -> None:
    domain = started(box, "nodes", idmap="")
    device = (
        "<hostdev mode='capabilities' type='misc'><source><char>/dev/kmsg</char></source></hostdev>"
    )
    domain.attachDevice(device)
    assert "/dev/kmsg" in box.inside("nodes", "/bin/ls", "/dev/kmsg")
    box.shell("nodes", "head -c 1 < /dev/kmsg > /dev/null")
    domain.detachDevice(device)
    assert box.inside("nodes", "/bin/ls", "/dev/kmsg", check=False).strip() == ""
    started(box, "given", extra=device)
    assert "kmsg" in box.inside("given", "/bin/ls", "/dev")


def test_filesystems_are_bind_mounts_tmpfs_and_images(box: Boxes) -> None:
    shared = box.rootfs.parent / "shared"
    shared.mkdir()
    (shared / "word").write_text("from the host")
    for name in ("shared", "ram", "image", "bound"):  # mapped users may not make them
        (box.rootfs / "mnt" / name).mkdir(parents=True)
    image = box.rootfs.parent / "image"
    subprocess.run(["truncate", "-s", "8M", str(image)], check=True, timeout=20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=20)
    extra = (
        f"<filesystem type='mount'><source dir='{shared}'/><target dir='/mnt/shared'/><readonly/>"
        "</filesystem><filesystem type='ram'><source usage='4' units='MiB'/>"
        "<target dir='/mnt/ram'/></filesystem>"
        f"<filesystem type='file'><driver type='loop' format='raw'/><source file='{image}'/>"
        "<target dir='/mnt/image'/></filesystem>"
        "<filesystem type='bind'><source dir='/etc'/><target dir='/mnt/bound'/></filesystem>"
    )
    started(box, "files", extra=extra)
    assert box.inside("files", "/bin/cat", "/mnt/shared/word").strip() == "from the host"
    refused = box.shell("files", "echo x > /mnt/shared/new || echo refused", check=False)
    assert "refused" in refused
    assert "4096" in box.inside("files", "/bin/df", "-k", "/mnt/ram")
    assert "lost+found" in box.inside("files", "/bin/ls", "/mnt/image")
    assert "passwd" in box.inside("files", "/bin/ls", "/mnt/bound")


def test_signals_and_the_hostname_reach_a_container(box: Boxes) -> None:
    domain = started(box, "calls")
    assert domain.hostname() == "calls"
    number = next(
        int(line.split()[0])
        for line in box.inside("calls", "/bin/ps", "-o", "pid,comm").splitlines()
        if line.endswith("sleep")
    )
    domain.sendProcessSignal(number, libvirt.VIR_DOMAIN_PROCESS_SIGNAL_KILL)
    wait_until(
        "another sleeps",
        lambda: f"{number} sleep" not in box.inside("calls", "/bin/ps", "-o", "pid,comm"),
    )
    with pytest.raises(libvirt.libvirtError):
        domain.sendProcessSignal(4000, libvirt.VIR_DOMAIN_PROCESS_SIGNAL_TERM)


def test_limits_are_changed_live_and_in_the_definition(box: Boxes) -> None:
    domain = box.link.defineXML(container("tuned", box.rootfs))
    domain.create()
    live, config = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    assert domain.schedulerType()[0] == "posix"
    least = domain.schedulerParametersFlags(live)["cpu_shares"]
    assert least > 0  # the kernel's own
    for flags in (live, config):
        domain.setSchedulerParametersFlags({"cpu_shares": 512, "vcpu_quota": 50000}, flags)
        found = domain.schedulerParametersFlags(flags)
        assert (found["cpu_shares"], found["vcpu_quota"]) == (512, 50000)
    assert domain.memoryParameters(live)["hard_limit"] == 131072
    domain.setMemoryParameters({"hard_limit": 65536}, live)
    assert domain.memoryParameters(live)["hard_limit"] == 65536
    assert domain.memoryParameters(config)["hard_limit"] == 9007199254740991
    assert "<hard_limit unit='KiB'>65536</hard_limit>" in domain.XMLDesc()
    with pytest.raises(libvirt.libvirtError, match="or equal to swap_hard_limit") as refused:
        domain.setMemoryParameters({"swap_hard_limit": 1024}, live)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    with pytest.raises(libvirt.libvirtError, match="max memory") as refused:
        domain.setMaxMemory(262144)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    with pytest.raises(libvirt.libvirtError, match="higher than max memory"):
        domain.setMemoryFlags(262144, live)
    domain.destroy()
    domain.setMaxMemory(65536)
    domain.setMemoryFlags(32768, config)
    domain.create()
    assert domain.memoryParameters(live)["hard_limit"] == 32768
    assert domain.info()[1] == 65536
    domain.setMemory(49152)
    assert domain.memoryParameters(live)["hard_limit"] == 49152


@pytest.fixture
def lxcfs(box: Boxes) -> Iterator[Path]:
    """The daemon's host has lxcfs."""
    place = box.daemon.root / "var/lib/lxcfs"
    place.mkdir(parents=True, exist_ok=True)
    pid_file = place.parent / "lxcfs.pid"
    served = subprocess.Popen(["/usr/bin/lxcfs", "-f", "-p", str(pid_file), str(place)])
    wait_until("it serves", lambda: (place / "proc/meminfo").exists())
    yield place
    served.terminate()
    served.wait(20)
    # One that was killed has left a mount that nothing can look at.
    subprocess.run(["umount", "--lazy", "--quiet", str(place)], check=False, timeout=20)


def test_a_container_sees_its_own_memory_where_the_host_has_lxcfs(box: Boxes, lxcfs: Path) -> None:
    domain = started(box, "counted")
    assert f"{128 << 10} kB" in box.inside("counted", "/bin/grep", "MemTotal", "/proc/meminfo")
    domain.setMemoryParameters({"hard_limit": 64 << 10}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert f"{64 << 10} kB" in box.inside("counted", "/bin/grep", "MemTotal", "/proc/meminfo")
    domain.destroy()


def test_a_container_starts_without_a_running_lxcfs(box: Boxes, lxcfs: Path) -> None:
    (pid,) = (lxcfs.parent / "lxcfs.pid").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    wait_until("it is dead", lambda: not is_served(lxcfs))
    domain = started(box, "uncounted")
    assert "MemTotal" in box.inside("uncounted", "/bin/grep", "MemTotal", "/proc/meminfo")
    domain.destroy()


def is_served(place: Path) -> bool:
    try:
        return bool(os.listdir(place))
    except OSError:
        return False
