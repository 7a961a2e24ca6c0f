"""virInterface calls, in a network namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.daemon import Daemon
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2"
)

BRIDGE = (
    "<interface type='bridge' name='vvhost'><start mode='none'/><mtu size='1400'/>"
    "<protocol family='ipv4'><ip address='{}' prefix='24'/></protocol>"
    "<bridge stp='off' delay='0'><interface type='ethernet' name='vvport'/></bridge></interface>"
)


@pytest.fixture(scope="module")
def here() -> Iterator[Daemon]:
    """A daemon in a namespace with one host interface, `vvport`."""
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(
            ["ip", "link", "add", "vvport", "type", "veth", "peer", "name", "vvfar"], check=True
        )
        with Daemon() as daemon:
            yield daemon


def define(daemon: Daemon, address: str = "10.66.0.1") -> None:
    path = daemon.root / "bridge.xml"
    path.write_text(BRIDGE.format(address))
    daemon.ok("iface-define", str(path))


def destroy(daemon: Daemon) -> None:
    """Virsh 9.0 says that it was done and exits with 1 all the same."""
    done = daemon.virsh("iface-destroy", "vvhost")
    assert "destroyed" in done.stdout
    assert not done.stderr


def test_links_are_listed_and_described(here: Daemon) -> None:
    assert "lo" in here.ok("iface-list").split()
    assert "vvport" in here.ok("iface-list", "--inactive").split()
    mac = here.ok("iface-mac", "vvport").strip()
    assert here.ok("iface-name", mac).strip() == "vvport"
    assert f"<mac address='{mac}'/>" in here.ok("iface-dumpxml", "vvport")
    assert "Interface not found" in here.virsh("iface-dumpxml", "nothing").stderr


def test_bridge_is_defined_started_stopped_undefined(here: Daemon) -> None:
    define(here)
    assert "vvhost" not in shown("ip", "-o", "link")
    here.ok("iface-start", "vvhost")
    assert "10.66.0.1/24" in shown("ip", "-o", "addr", "show", "dev", "vvhost")
    assert "mtu 1400" in shown("ip", "-o", "link", "show", "dev", "vvhost")
    assert "master vvhost" in shown("ip", "-o", "link", "show", "dev", "vvport")
    live = here.ok("iface-dumpxml", "vvhost")
    assert "<ip address='10.66.0.1' prefix='24'/>" in live
    assert "name='vvport'" in live
    assert "already active" in here.virsh("iface-start", "vvhost").stderr
    destroy(here)
    assert "vvhost" not in shown("ip", "-o", "link")
    here.ok("iface-undefine", "vvhost")
    assert here.virsh("iface-undefine", "vvhost").returncode == 1


def test_failed_start_leaves_nothing(here: Daemon) -> None:
    path = here.root / "broken.xml"
    path.write_text(BRIDGE.format("10.66.0.1").replace("vvport", "vvnone"))
    here.ok("iface-define", str(path))
    refused = here.virsh("iface-start", "vvhost")
    assert refused.returncode == 1
    assert "vvnone" in refused.stderr
    assert "vvhost" not in shown("ip", "-o", "link")
    path.write_text(
        BRIDGE.format("10.66.0.1").replace("<ip address='10.66.0.1' prefix='24'/>", "<dhcp/>")
    )
    here.ok("iface-define", str(path))
    assert "DHCP client" in here.virsh("iface-start", "vvhost").stderr
    here.ok("iface-undefine", "vvhost")


def test_change_begin_commit_and_rollback(here: Daemon) -> None:
    define(here)
    here.ok("iface-start", "vvhost")
    here.ok("iface-begin")
    assert "begun already" in here.virsh("iface-begin").stderr
    define(here, "10.66.0.9")
    destroy(here)
    here.ok("iface-start", "vvhost")
    assert "10.66.0.9/24" in shown("ip", "-o", "addr", "show", "dev", "vvhost")
    here.ok("iface-rollback")
    assert "10.66.0.1/24" in shown("ip", "-o", "addr", "show", "dev", "vvhost")
    assert "10.66.0.1" in here.ok("iface-dumpxml", "vvhost", "--inactive")
    here.ok("iface-begin")
    define(here, "10.66.0.9")
    here.ok("iface-commit")
    assert here.virsh("iface-rollback").returncode == 1
    assert "10.66.0.9" in here.ok("iface-dumpxml", "vvhost", "--inactive")
    destroy(here)
    here.ok("iface-undefine", "vvhost")
