"""An active network survives a restart of the daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.clients.daemon import Daemon
from tests.clients.namespace import own_network, shown
from tests.clients.network_host import BUSYBOX, Neighbour

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dnsmasq", "ip", "iptables"))),
    reason="needs root, dnsmasq-base, iproute2 and iptables",
)

NETWORK = (
    "<network><name>lasting</name><forward mode='nat'/><bridge name='vvlast' delay='0'/>"
    "<ip address='10.67.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.67.0.2' end='10.67.0.9'/></dhcp></ip></network>"
)

NETWORK6 = (
    "<network ipv6='yes'><name>six{n}</name><forward mode='nat'/>"
    "<bridge name='vvsix{n}' delay='0'/>"
    "<dns><host ip='fd67:{n}::9'><hostname>nine</hostname></host></dns>"
    "<ip family='ipv6' address='fd67:{n}::1' prefix='64'><dhcp>"
    "<range start='fd67:{n}::10' end='fd67:{n}::99'/></dhcp></ip></network>"
)


def rules() -> list[str]:
    return [line for line in shown("iptables-save").splitlines() if "vvlast" in line]


def test_network_survives_a_restart_of_the_daemon() -> None:
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Daemon() as daemon:
            path = Path(daemon.root) / "lasting.xml"
            path.write_text(NETWORK)
            daemon.ok("net-define", str(path))
            daemon.ok("net-start", "lasting")
            pid = (daemon.root / "run/libvirt/network/lasting.pid").read_text()
            before = rules()
            daemon.kill()
            assert "10.67.0.1/24" in shown("ip", "-o", "addr", "show", "dev", "vvlast")
            daemon.start()
            assert "lasting" in daemon.ok("net-list", "--name").split()
            assert (daemon.root / "run/libvirt/network/lasting.pid").read_text() == pid
            assert rules() == before
            daemon.ok("net-destroy", "lasting")
            assert "vvlast" not in shown("ip", "-o", "link")
            assert "vvlast" not in shown("iptables-save")


@pytest.mark.skipif(not Path(BUSYBOX).exists(), reason="needs busybox")
def test_ipv6_networks_start_and_recover_without_waiting_for_their_addresses() -> None:
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Daemon() as daemon:
            started = []
            for n in (1, 2, 3):
                path = daemon.root / f"six{n}.xml"
                path.write_text(NETWORK6.format(n=n))
                daemon.ok("net-define", str(path))
                began = time.monotonic()
                daemon.ok("net-start", f"six{n}")
                started.append(time.monotonic() - began)
            assert min(started) < 5, "it was 6.4 s with duplicate address detection"
            [netd] = [row["pid"] for row in daemon.status() if row["name"] == "netd"]
            os.kill(netd, signal.SIGKILL)
            began = time.monotonic()
            assert daemon.ok("net-list", "--name").split() == ["six1", "six2", "six3"]
            assert time.monotonic() - began < 5, "it was 20 s"
            # dnsmasq binds the address when its detection ends: with the first port of the bridge
            with Neighbour(daemon.root, "vvsix1", "52:54:00:77:06:01") as peer:
                peer.run("ip", "addr", "add", "fd67:1::5/64", "dev", "inside", "nodad")
                (daemon.root / "peer.dns").write_text("fd67:1::1")
                until = time.monotonic() + 15
                while "fd67:1::9" not in peer.resolve("nine"):
                    assert time.monotonic() < until, shown("ip", "addr")
                    time.sleep(0.2)
            for n in (1, 2, 3):
                daemon.ok("net-destroy", f"six{n}")
