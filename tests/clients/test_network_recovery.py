"""An active network survives a restart of the daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.daemon import Daemon
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dnsmasq", "ip", "iptables"))),
    reason="needs root, dnsmasq-base, iproute2 and iptables",
)

NETWORK = (
    "<network><name>lasting</name><forward mode='nat'/><bridge name='vvlast' delay='0'/>"
    "<ip address='10.67.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.67.0.2' end='10.67.0.9'/></dhcp></ip></network>"
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
