"""virNetwork calls, in a network namespace."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EVENT_S, EventLoop, wait_until
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_network, shown
from tests.clients.network_host import BUSYBOX, Neighbour

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dnsmasq", "ip", "iptables"))),
    reason="needs root, dnsmasq-base, iproute2 and iptables",
)

QUICK = "<forward mode='nat'/><bridge name='{bridge}' stp='off' delay='0'/>"
NETWORK = (
    "<network><name>{name}</name>" + QUICK + "<domain name='lab.test'/>"
    "<dns><host ip='10.77.{subnet}.9'><hostname>nine</hostname></host></dns>"
    "<ip address='10.77.{subnet}.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.77.{subnet}.100' end='10.77.{subnet}.199'/>"
    "<host mac='52:54:00:77:00:02' name='fixed' ip='10.77.{subnet}.2'/></dhcp></ip></network>"
)


def document(name: str, subnet: int) -> str:
    return NETWORK.format(name=name, bridge=f"vvt{subnet}", subnet=subnet)


@pytest.fixture(scope="module")
def here() -> Iterator[Daemon]:
    """A daemon in a namespace in which the tests are, too."""
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Daemon() as daemon:
            yield daemon
            for name in daemon.virsh("net-list", "--name").stdout.split():
                daemon.virsh("net-destroy", name)


@pytest.fixture
def net(here: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """A network that is defined, by the name of the test; nothing of it stays."""
    subnet = 10 + len(request.node.name) % 200
    name = f"n{subnet}"
    path = here.root / f"{name}.xml"
    path.write_text(document(name, subnet))
    here.ok("net-define", str(path))
    yield name
    here.virsh("net-destroy", name)
    here.virsh("net-undefine", name)
    assert f"vvt{subnet}" not in shown("ip", "-o", "link")
    assert not any("LIBVIRT" in line and "vvt" in line for line in rules())
    assert not list(servers(here, name))


def rules() -> list[str]:
    return [line for line in shown("iptables-save").splitlines() if line.startswith("-A")]


def bridge(name: str) -> str:
    return f"vvt{name[1:]}"


def servers(daemon: Daemon, name: str) -> Iterator[int]:
    """The dnsmasq processes of a network, without the servants that run the lease script."""
    wanted = f"--conf-file={daemon.root}/var/lib/libvirt/dnsmasq/{name}.conf".encode()
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(stat[1])
        except OSError:
            continue
    yield from (pid for pid, parent in found.items() if parent not in found)


def pid_of(daemon: Daemon, name: str) -> int:
    return int(next(row["pid"] for row in daemon.status() if row["name"] == name))


def test_default_network_is_defined_once_and_inactive(here: Daemon) -> None:
    assert here.ok("net-list", "--all").split()[-4:] == ["default", "inactive", "no", "yes"]
    xml = here.ok("net-dumpxml", "default")
    assert "<ip address='192.168.122.1' netmask='255.255.255.0'>" in xml
    assert "<bridge name='virbr0' stp='on' delay='0'/>" in xml


def test_network_lifecycle_and_xml(here: Daemon, net: str) -> None:
    here.ok("net-start", net)
    words = here.ok("net-info", net).split()
    assert words[words.index("Active:") + 1] == "yes"
    assert words[words.index("Bridge:") + 1] == bridge(net)
    assert f"10.77.{net[1:]}.1/24" in shown("ip", "-o", "-4", "addr", "show", "dev", bridge(net))
    assert any(f"-o {bridge(net)}" in line for line in rules())
    assert len(list(servers(here, net))) == 1
    assert "already active" in here.virsh("net-start", net).stderr
    here.ok("net-destroy", net)
    assert "is not active" in here.virsh("net-destroy", net).stderr


def test_autostart_undefine_and_transient_networks(here: Daemon, net: str) -> None:
    here.ok("net-autostart", net)
    assert (here.root / f"etc/libvirt/qemu/networks/autostart/{net}.xml").is_symlink()
    assert net in here.ok("net-list", "--all", "--autostart", "--name").split()
    here.ok("net-autostart", net, "--disable")
    here.ok("net-start", net)
    here.ok("net-undefine", net)
    assert net in here.ok("net-list", "--transient", "--name").split()
    assert "transient" in here.virsh("net-autostart", net).stderr
    here.ok("net-destroy", net)
    assert net not in here.ok("net-list", "--all", "--name").split()


@pytest.mark.skipif(not Path(BUSYBOX).exists(), reason="needs busybox")
def test_dhcp_and_dns_reach_a_machine(here: Daemon, net: str) -> None:
    here.ok("net-start", net)
    prefix = f"10.77.{net[1:]}"
    with Neighbour(here.root, bridge(net), "52:54:00:77:00:01") as peer:
        got = peer.get_address()
        assert got.startswith(f"{prefix}.")
        assert 100 <= int(got.rpartition(".")[2]) <= 199
        assert peer.reaches(f"{prefix}.1")
        assert f"{prefix}.9" in peer.resolve("nine")
        wait_until("the lease", lambda: got in here.ok("net-dhcp-leases", net))
        assert "52:54:00:77:00:01" in here.ok("net-dhcp-leases", net)
        assert "52:54:00:77:00:01" not in here.ok("net-dhcp-leases", net, "52:54:00:77:00:02")
        with Neighbour(here.root, bridge(net), "52:54:00:77:00:02", "fixed") as other:
            assert other.get_address() == f"{prefix}.2"
            assert peer.reaches(f"{prefix}.2")


@pytest.mark.skipif(not Path(BUSYBOX).exists(), reason="needs busybox")
def test_leases_and_traffic_survive_netd_and_dnsmasq(here: Daemon, net: str) -> None:
    here.ok("net-start", net)
    with Neighbour(here.root, bridge(net), "52:54:00:77:00:01") as peer:
        got = peer.get_address()
        [server] = servers(here, net)
        before, former = rules(), pid_of(here, "netd")
        os.kill(former, signal.SIGKILL)
        assert peer.reaches(f"10.77.{net[1:]}.1")
        wait_until("netd is back", lambda: pid_of(here, "netd") not in (0, former))
        assert got in here.ok("net-dhcp-leases", net)
        assert list(servers(here, net)) == [server]
        assert rules() == before
        os.kill(server, signal.SIGKILL)
        wait_until("a new dnsmasq", lambda: list(servers(here, net)) not in ([], [server]))
        wait_until("dnsmasq answers", lambda: f".{net[1:]}.9" in peer.resolve("nine"))
        wait_until("its first process has ended", lambda: len(list(servers(here, net))) == 1)
        assert got in here.ok("net-dhcp-leases", net)


def test_recovery_repairs_what_was_deleted(here: Daemon, net: str) -> None:
    here.ok("net-start", net)
    former = pid_of(here, "netd")
    [server] = servers(here, net)
    os.kill(former, signal.SIGSTOP)  # so that it cannot mend anything before it dies
    os.kill(server, signal.SIGKILL)
    subprocess.run(["ip", "link", "del", bridge(net)], check=True)
    subprocess.run(["iptables", "-F", "LIBVIRT_FWI"], check=True)
    os.kill(former, signal.SIGKILL)
    wait_until("netd is back", lambda: pid_of(here, "netd") not in (0, former))
    assert net in here.ok("net-list", "--name").split()
    address = f"10.77.{net[1:]}.1/24"
    wait_until("the bridge is back", lambda: address in shown("ip", "-o", "-4", "addr"))
    assert any(line.startswith("-A LIBVIRT_FWI") and bridge(net) in line for line in rules())
    wait_until("dnsmasq runs", lambda: len(list(servers(here, net))) == 1)


def test_live_and_persistent_updates(here: Daemon, net: str) -> None:
    here.ok("net-start", net)
    host = f"<host mac='52:54:00:77:00:05' name='five' ip='10.77.{net[1:]}.5'/>"
    here.ok("net-update", net, "add", "ip-dhcp-host", host, "--live", "--config")
    assert "five" in here.ok("net-dumpxml", net)
    assert "five" in here.ok("net-dumpxml", net, "--inactive")
    assert "five" in (here.root / f"var/lib/libvirt/dnsmasq/{net}.hostsfile").read_text()
    again = here.virsh("net-update", net, "add", "ip-dhcp-host", host, "--live")
    assert again.returncode == 1
    assert "existing dhcp host entry" in again.stderr
    here.ok("net-update", net, "delete", "ip-dhcp-host", host, "--live")
    assert "five" not in here.ok("net-dumpxml", net)
    assert "five" in here.ok("net-dumpxml", net, "--inactive")
    refused = here.virsh("net-update", net, "modify", "bridge", "<bridge name='br9'/>")
    assert "can't update 'bridge' section" in refused.stderr
    [server] = servers(here, net)
    span = f"<range start='10.77.{net[1:]}.30' end='10.77.{net[1:]}.39'/>"
    here.ok("net-update", net, "add-last", "ip-dhcp-range", span, "--live")
    assert list(servers(here, net)) != [server], "a new range needs a new dnsmasq"


def test_subnet_or_bridge_in_use_is_refused(here: Daemon, net: str) -> None:
    subprocess.run(["ip", "link", "add", "vvhost", "type", "bridge"], check=True)
    try:
        address = f"10.77.{net[1:]}.77/24"
        subprocess.run(["ip", "addr", "add", address, "dev", "vvhost"], check=True)
        subprocess.run(["ip", "link", "set", "vvhost", "up"], check=True)
        refused = here.virsh("net-start", net)
        assert refused.returncode == 1
        assert "already in use by interface vvhost" in refused.stderr
    finally:
        subprocess.run(["ip", "link", "del", "vvhost"], check=True)
    subprocess.run(["ip", "link", "add", bridge(net), "type", "bridge"], check=True)
    try:
        refused = here.virsh("net-start", net)
        assert refused.returncode == 1
        assert "File exists" in refused.stderr
        assert bridge(net) in shown("ip", "-o", "link"), "it is not ours to remove"
    finally:
        subprocess.run(["ip", "link", "del", bridge(net)], check=True)


def test_invalid_networks_have_libvirts_codes(here: Daemon, net: str) -> None:
    link = libvirt.open(here.uri)
    ip = "<ip address='10.9.0.1' netmask='255.255.255.0'><dhcp>{}</dhcp></ip>"
    cases: list[tuple[str, int]] = [
        ("<network><name>x</name>", libvirt.VIR_ERR_XML_DETAIL),
        ("<network><name>a/b</name></network>", libvirt.VIR_ERR_XML_DETAIL),
        ("<network><name>x</name><ip address='nine'/></network>", libvirt.VIR_ERR_XML_ERROR),
        (
            "<network><name>x</name><forward mode='nat'/>"
            + ip.format("<range start='10.8.0.2' end='10.9.0.9'/>")
            + "</network>",
            libvirt.VIR_ERR_INTERNAL_ERROR,
        ),
        (
            "<network><name>x</name><dnsmasq:options xmlns:dnsmasq="
            "'http://libvirt.org/schemas/network/dnsmasq/1.0'>"
            "<dnsmasq:option value='a&#10;dhcp-script=/bin/evil'/></dnsmasq:options></network>",
            libvirt.VIR_ERR_XML_ERROR,
        ),
    ]
    for xml, code in cases:
        with pytest.raises(libvirt.libvirtError) as refused:
            link.networkDefineXML(xml)
        assert refused.value.get_error_code() == code, xml
    assert sorted(each.name() for each in link.listAllNetworks()) == sorted(["default", net])
    link.close()


def test_lifecycle_events(here: Daemon, net: str) -> None:
    EventLoop.start()
    link = libvirt.open(here.uri)
    seen: queue.Queue[tuple[str, int]] = queue.Queue()

    def arrived(_link: Any, network: Any, event: int, _detail: int, _opaque: Any) -> None:
        seen.put((network.name(), event))

    number = link.networkEventRegisterAny(
        None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, arrived, None
    )
    here.ok("net-start", net)
    here.ok("net-destroy", net)
    here.ok("net-undefine", net)
    expected = [
        libvirt.VIR_NETWORK_EVENT_STARTED,
        libvirt.VIR_NETWORK_EVENT_STOPPED,
        libvirt.VIR_NETWORK_EVENT_UNDEFINED,
    ]
    assert [seen.get(timeout=EVENT_S) for _ in expected] == [(net, each) for each in expected]
    link.networkEventDeregisterAny(number)
    link.close()


def test_transient_network_disappears_when_it_stops(here: Daemon) -> None:
    path = here.root / "transient.xml"
    path.write_text(document("passing", 5))
    here.ok("net-create", str(path))
    assert "already exists with uuid" in here.virsh("net-create", str(path)).stderr
    words = here.ok("net-info", "passing").split()
    assert words[words.index("Persistent:") + 1] == "no"
    taken = here.root / "taken.xml"
    taken.write_text(document("other", 5))
    assert "already in use" in here.virsh("net-define", str(taken)).stderr
    here.ok("net-destroy", "passing")
    assert here.virsh("net-info", "passing").returncode == 1


def test_hook_script_may_refuse_a_start(here: Daemon, net: str) -> None:
    script = here.root / "etc/libvirt/hooks/network"
    notes = here.root / "hook.notes"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\necho "$@" >> {notes}\ncat >> {notes}.xml\n[ ! -e {notes}.no ]\n')
    script.chmod(0o755)
    try:
        here.ok("net-start", net)
        here.ok("net-destroy", net)
        assert notes.read_text().splitlines() == [
            f"{net} start begin -",
            f"{net} started begin -",
            f"{net} stopped end -",
        ]
        assert "<hookData>" in Path(f"{notes}.xml").read_text()
        Path(f"{notes}.no").touch()
        refused = here.virsh("net-start", net)
        assert refused.returncode == 1
        assert "Hook script execution failed" in refused.stderr
        assert bridge(net) not in shown("ip", "-o", "link")
    finally:
        script.unlink()


def test_guests_are_attached_again_after_a_network_restart(here: Daemon, net: str) -> None:
    interface = (
        f"<interface type='network'><source network='{net}'/><model type='virtio'/></interface>"
    )
    path = here.root / "plugged.xml"
    path.write_text(idle("plugged", devices=interface))
    assert "is not active" in here.virsh("create", str(path)).stderr
    here.ok("net-start", net)
    here.ok("create", str(path))
    try:
        tap = here.ok("domiflist", "plugged").split()[6]
        assert bridge(net) in shown("ip", "-o", "link", "show", "dev", tap)
        assert len(here.ok("net-port-list", net).split()) == 3
        here.ok("net-destroy", net)
        assert bridge(net) not in shown("ip", "-o", "link", "show", "dev", tap)
        here.ok("net-start", net)
        assert bridge(net) in shown("ip", "-o", "link", "show", "dev", tap)
        former = pid_of(here, "netd")
        os.kill(former, signal.SIGKILL)
        wait_until("netd is back", lambda: pid_of(here, "netd") not in (0, former))
        assert "<network connections='1'>" in here.ok("net-dumpxml", net)
    finally:
        here.ok("destroy", "plugged")
    wait_until("the port is gone", lambda: "connections" not in here.ok("net-dumpxml", net))
    assert tap not in shown("ip", "-o", "link")


def test_direct_and_ethernet_interfaces_follow_their_guest(here: Daemon) -> None:
    script, notes = here.root / "ifup.sh", here.root / "ifup.notes"
    script.write_text(f"#!/bin/sh\necho \"$1\" >> '{notes}'\n")
    script.chmod(0o755)
    interfaces = (
        "<interface type='direct'><source dev='vvlow' mode='bridge'/><model type='virtio'/>"
        "</interface><interface type='ethernet'><target dev='vvtap'/>"
        f"<script path='{script}'/><downscript path='{script}'/></interface>"
    )
    path = here.root / "direct.xml"
    path.write_text(idle("direct", devices=interfaces))
    subprocess.run(["ip", "link", "add", "vvlow", "type", "veth", "peer", "vvhigh"], check=True)
    try:
        subprocess.run(["ip", "link", "set", "vvlow", "up"], check=True)
        here.ok("create", str(path))
        device = here.ok("domiflist", "direct").split()[6]
        assert device.startswith("macvtap")
        assert f"{device}@vvlow" in shown("ip", "-o", "link")
        assert notes.read_text() == "vvtap\n"
        here.ok("destroy", "direct")
        wait_until("the macvtap is gone", lambda: device not in shown("ip", "-o", "link"))
        wait_until("both scripts ran", lambda: notes.read_text() == "vvtap\nvvtap\n")
        script.write_text("#!/bin/sh\necho no >&2; exit 3\n")
        refused = here.virsh("create", str(path))
        assert "failed with 3: no" in refused.stderr
        assert "macvtap" not in shown("ip", "-o", "link")
        assert not list((here.root / "run/libvirt/network/taps").iterdir())
    finally:
        here.virsh("destroy", "direct")
        subprocess.run(["ip", "link", "del", "vvlow"], check=True)
