"""What of networks only a full kernel has: limits of what guests send, VLANs, bonds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
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
