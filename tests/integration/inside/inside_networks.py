"""What of networks only a full kernel has: limits of what guests send, VLANs, bonds."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle

SHAPE = {"cpus": 2}
PACKAGES = {
    "/usr/bin/virsh": "libvirt-clients",
    "/usr/sbin/dnsmasq": "dnsmasq-base",
    "/usr/sbin/iptables": "iptables",
}
LIMITED = (
    "<network><name>narrow</name><bridge name='vvnarrow' stp='off' delay='0'/>"
    "<bandwidth><inbound average='1000' peak='2000' burst='512'/>"
    "<outbound average='500' burst='64'/></bandwidth>"
    "<ip address='10.89.0.1' netmask='255.255.255.0'/></network>"
)
INTERFACE = (
    "<interface type='network'><mac address='52:54:00:89:00:01'/><source network='narrow'/>"
    "<model type='virtio'/></interface>"
)
#: Neither has a peak above its average. The bursts last for the moments that the machine stands
#: still on a busy host.
SLOW = (
    "<network><name>slow</name><bridge name='vvslow' stp='off' delay='0'/>"
    "{bandwidth}<ip address='10.91.0.1' netmask='255.255.255.0'/></network>"
)
BANDWIDTH = (
    "<bandwidth><inbound average='400' burst='64'/><outbound average='300' burst='64'/></bandwidth>"
)
HOST, GUEST = "10.91.0.1", "10.91.0.2"
MEASURED_S = 4.0
SETTLED_S = 1.0  # until bursts are used up
#: Sends to an address for some seconds, faster than any limit here.
FLOOD = """
import socket, sys, time
end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    end.sendto(bytes(1400), (sys.argv[1], 9))
"""
VLAN = (
    "<interface type='vlan' name='parent0.42'><start mode='none'/><protocol family='ipv4'>"
    "<ip address='10.90.0.1' prefix='24'/></protocol>"
    "<vlan tag='42'><interface name='parent0'/></vlan></interface>"
)
BOND = (
    "<interface type='bond' name='bond7'><start mode='none'/><bond mode='active-backup'>"
    "<miimon freq='100' carrier='netif'/><interface type='ethernet' name='leg0'/>"
    "<interface type='ethernet' name='leg1'/></bond></interface>"
)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """The daemon of all tests here."""
    for module in ("dummy", "tun"):
        run("modprobe", module)
    run("udevadm", "settle")
    with Daemon() as running:
        yield running


def write(folder: Path, xml: str) -> str:
    path = folder / "document.xml"
    path.write_text(xml)
    return str(path)


def test_what_a_network_and_a_guest_send_is_limited(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ok("net-create", write(tmp_path, LIMITED))
    assert "htb" in run("tc", "qdisc", "show", "dev", "vvnarrow")
    assert "police" in run("tc", "filter", "show", "dev", "vvnarrow", "parent", "ffff:")
    daemon.ok("create", write(tmp_path, idle("sending", devices=INTERFACE)))
    tap = daemon.ok("domiflist", "sending").split()[-5]
    daemon.ok("domiftune", "sending", tap, "--outbound", "500,1000,64", "--live")
    assert "police" in run("tc", "filter", "show", "dev", tap, "parent", "ffff:")
    assert re.search(r"outbound.average\s*: 500", daemon.ok("domiftune", "sending", tap))
    daemon.ok("domiftune", "sending", tap, "--outbound", "0", "--live")
    assert "ingress" not in run("tc", "qdisc", "show", "dev", tap)
    daemon.ok("destroy", "sending")
    daemon.ok("net-destroy", "narrow")


@contextmanager
def neighbour(bridge: str) -> Iterator[None]:
    """A machine on a bridge, in a network namespace of its own."""
    run("ip", "netns", "add", "far")
    try:
        run("ip", "link", "add", "vvfar0", "type", "veth", "peer", "name", "vvfar1", "netns", "far")
        run("ip", "link", "set", "vvfar0", "master", bridge, "up")
        run("ip", "-n", "far", "addr", "add", f"{GUEST}/24", "dev", "vvfar1")
        run("ip", "-n", "far", "link", "set", "vvfar1", "up")
        yield
    finally:
        run("ip", "netns", "del", "far")


@contextmanager
def flood(address: str, *prefix: str) -> Iterator[None]:
    """Send datagrams to an address all the while."""
    argv = [*prefix, sys.executable, "-c", FLOOD, address, "60"]
    with subprocess.Popen(argv) as sending:
        try:
            yield
        finally:
            sending.kill()


def rate(count: Callable[[], int]) -> float:
    """What a counter grows by in a second, in kilobytes, once bursts are over."""
    time.sleep(SETTLED_S)
    first, began = count(), time.monotonic()
    time.sleep(MEASURED_S)
    return (count() - first) / (time.monotonic() - began) / 1000


@contextmanager
def network(daemon: Daemon, folder: Path, xml: str) -> Iterator[None]:
    """A network for the time of a test."""
    daemon.ok("net-create", write(folder, xml))
    try:
        yield
    finally:
        daemon.ok("net-destroy", "slow")


def sent(device: str, class_id: str) -> int:
    """What a class of a device has let pass, in bytes."""
    shown = run("tc", "-s", "class", "show", "dev", device, "classid", class_id)
    found = re.search(r"Sent (\d+) bytes", shown)
    assert found, shown
    return int(found[1])


def taken(device: str) -> int:
    """What the police of a device has let pass, in bytes; datagrams are of one size here."""
    shown = run("tc", "-s", "filter", "show", "dev", device, "parent", "ffff:")
    found = re.search(r"Sent (\d+) bytes (\d+) pkts? \(dropped (\d+)", shown)
    assert found, shown
    size, packets, dropped = map(int, found.groups())
    return size * (packets - dropped) // max(1, packets)


def test_a_network_carries_as_much_as_its_document_says(daemon: Daemon, tmp_path: Path) -> None:
    with network(daemon, tmp_path, SLOW.format(bandwidth=BANDWIDTH)), neighbour("vvslow"):
        with flood(GUEST):
            assert rate(lambda: sent("vvslow", "1:2")) == pytest.approx(400, rel=0.1)
        with flood(HOST, "ip", "netns", "exec", "far"):
            assert rate(lambda: taken("vvslow")) == pytest.approx(300, rel=0.1)


def test_a_guest_is_sent_as_much_as_its_interface_may_take(daemon: Daemon, tmp_path: Path) -> None:
    with network(daemon, tmp_path, SLOW.format(bandwidth="")):
        guest = idle("taking", devices=INTERFACE.replace("narrow", "slow"))
        daemon.ok("create", write(tmp_path, guest))
        tap = daemon.ok("domiflist", "taking").split()[-5]
        daemon.ok("domiftune", "taking", tap, "--inbound", "200,200,64", "--live")
        run("ip", "neigh", "replace", GUEST, "lladdr", "52:54:00:89:00:01", "dev", "vvslow")
        with flood(GUEST):
            assert rate(lambda: sent(tap, "1:1")) == pytest.approx(200, rel=0.1)
        daemon.ok("destroy", "taking")


def test_a_vlan_of_the_host_comes_and_goes(daemon: Daemon, tmp_path: Path) -> None:
    run("ip", "link", "add", "parent0", "up", "type", "dummy")
    daemon.ok("iface-define", write(tmp_path, VLAN))
    daemon.ok("iface-start", "parent0.42")
    output = run("ip", "-d", "link", "show", "parent0.42")
    assert "vlan protocol 802.1Q id 42" in output
    assert "10.90.0.1/24" in run("ip", "-4", "addr", "show", "parent0.42")
    assert "vlan tag='42'" in daemon.ok("iface-dumpxml", "parent0.42")
    daemon.virsh("iface-destroy", "parent0.42")  # virsh 9.0 exits with 1 when it succeeds
    daemon.ok("iface-undefine", "parent0.42")
    assert "parent0.42" not in run("ip", "link")


def test_a_bond_of_the_host_comes_and_goes(daemon: Daemon, tmp_path: Path) -> None:
    for leg in ("leg0", "leg1"):
        run("ip", "link", "add", leg, "type", "dummy")
    daemon.ok("iface-define", write(tmp_path, BOND))
    daemon.ok("iface-start", "bond7")
    assert "mode active-backup" in run("ip", "-d", "link", "show", "bond7")
    assert "master bond7" in run("ip", "link", "show", "leg0")
    daemon.virsh("iface-destroy", "bond7")
    daemon.ok("iface-undefine", "bond7")
    assert "bond7" not in run("ip", "link")
