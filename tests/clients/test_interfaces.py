"""Guests on virtual networks: addresses, connectivity, restarts of the daemon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pexpect
import pytest

from tests.clients.daemon import VIRSH, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import EventLoop, wait_until
from tests.clients.guest import Guest
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dnsmasq", "ip", "iptables"))),
    reason="needs root, dnsmasq-base, iproute2 and iptables",
)

NETWORK = (
    "<network><name>lab</name><forward mode='nat'/><bridge name='vvlab' stp='off' delay='0'/>"
    "<domain name='lab.test'/><dns><host ip='10.88.0.9'><hostname>nine</hostname></host></dns>"
    "<ip address='10.88.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.88.0.100' end='10.88.0.199'/></dhcp></ip></network>"
)
INTERFACE = (
    "<interface type='network'><mac address='52:54:00:88:00:{number:02x}'/>"
    "<source network='lab'/><model type='virtio'/></interface>"
)


@pytest.fixture(scope="module")
def here() -> Iterator[Daemon]:
    """A daemon with a network that runs, in a namespace in which the tests are, too."""
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Daemon() as daemon:
            path = daemon.root / "lab.xml"
            path.write_text(NETWORK)
            daemon.ok("net-create", str(path))
            yield daemon
            daemon.ok("net-destroy", "lab")
            assert "vnet" not in shown("ip", "-o", "link")


@pytest.fixture
def link(here: Daemon) -> Iterator[Any]:
    """A connection; no guest is left when it closes."""
    EventLoop.start()
    connection = libvirt.open(here.uri)
    yield connection
    for domain in connection.listAllDomains():
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefine()
    connection.close()


def taps() -> list[str]:
    """The taps in this namespace."""
    return re.findall(r"^\d+: (vnet\d+):", shown("ip", "-o", "link"), re.MULTILINE)


def test_guest_gets_address_dns_and_route(here: Daemon, link: Any, tiny: Guest) -> None:
    domain = link.defineXML(
        booting("dwelling", tiny, devices=INTERFACE.format(number=1), then="dhcp")
    )
    console = pexpect.spawn(
        VIRSH, ["-c", here.uri, "start", "dwelling", "--console"], timeout=90, encoding="utf-8"
    )
    console.expect(r"has address (10\.88\.0\.\d+)[^\d]")
    assert isinstance(console.match, re.Match)
    address = str(console.match.group(1))
    console.expect("login: ")
    console.sendline("root")
    console.expect("# ")
    console.sendline("ping -c 1 -W 5 10.88.0.1 >/dev/null && echo reaches-$((40 + 2))")
    console.expect("reaches-42")
    console.sendline("nslookup nine.lab.test")
    console.expect(r"10\.88\.0\.9")
    assert "52:54:00:88:00:01" in here.ok("net-dhcp-leases", "lab")
    assert f"{address}/24" in here.ok("domifaddr", "dwelling")
    assert f"{address}/" in here.ok("domifaddr", "dwelling", "--source", "arp")
    (tap,) = taps()
    listed = here.ok("domiflist", "dwelling").split()
    assert listed[-5:] == [tap, "network", "lab", "virtio", "52:54:00:88:00:01"]
    output = here.ok("domifstat", "dwelling", tap)
    assert int(re.findall(r"rx_packets (\d+)", output)[0]) > 0
    console.close(force=True)
    for process in ("netd", "qemu:dwelling"):
        pid = next(int(row["pid"]) for row in here.status() if row["name"] == process)
        os.kill(pid, signal.SIGKILL)
    console = pexpect.spawn(
        VIRSH, ["-c", here.uri, "console", "dwelling", "--force"], timeout=30, encoding="utf-8"
    )
    console.expect("Escape character")
    console.sendline("ping -c 1 -W 5 10.88.0.1 >/dev/null && echo still-$((40 + 2))")
    console.expect("still-42")
    assert here.ok("domiflist", "dwelling").split()[-5:] == listed[-5:]
    domain.destroy()
    console.close(force=True)
    wait_until("the tap is gone", lambda: not taps())


def test_live_xml_names_the_bridge_and_tap(link: Any) -> None:
    domain = link.createXML(idle("plugged", devices=INTERFACE.format(number=2)), 0)
    interface = ElementTree.fromstring(domain.XMLDesc()).find("devices/interface")
    assert interface is not None
    target, source = interface.find("target"), interface.find("source")
    assert target is not None
    assert source is not None
    assert target.get("dev") in taps()
    assert (source.get("network"), source.get("bridge")) == ("lab", "vvlab")
    inactive = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    assert inactive.find("devices/interface/target") is None


def test_attach_interface_and_set_link_state(here: Daemon, link: Any) -> None:
    link.createXML(idle("receiving"), 0)
    here.ok("attach-interface", "receiving", "network", "lab", "--model", "virtio", "--live")
    (tap,) = taps()
    assert "master vvlab" in shown("ip", "-o", "link", "show", tap)
    here.ok("domif-setlink", "receiving", tap, "down")
    assert "state DOWN" in shown("ip", "-o", "link", "show", tap)
    here.ok("domif-setlink", "receiving", tap, "up")
    assert here.ok("domif-getlink", "receiving", tap).split()[-1] == "up"


def test_inactive_network_is_refused_without_leftovers(here: Daemon, link: Any) -> None:
    interface = INTERFACE.format(number=3).replace("'lab'", "'default'")
    domain = link.defineXML(idle("unplugged", devices=INTERFACE.format(number=4) + interface))
    with pytest.raises(libvirt.libvirtError, match="network 'default' is not active"):
        domain.create()
    assert not taps()
    missing = idle("lost", devices=INTERFACE.format(number=5).replace("'lab'", "'nowhere'"))
    with pytest.raises(libvirt.libvirtError, match="nowhere") as refused:
        link.createXML(missing, 0)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_NETWORK
    assert not taps()


def test_interface_on_a_host_bridge(link: Any) -> None:
    interface = "<interface type='bridge'><source bridge='vvlab'/><model type='e1000'/></interface>"
    link.createXML(idle("bridged", devices=interface), 0)
    (tap,) = taps()
    assert "master vvlab" in shown("ip", "-o", "link", "show", tap)


def test_interface_bandwidth_is_set_and_cleared(here: Daemon, link: Any) -> None:
    """What comes to the guest alone: this kernel may lack the filter for the other way."""
    domain = link.defineXML(idle("limited", devices=INTERFACE.format(number=6)))
    domain.create()
    (tap,) = taps()
    mac = "52:54:00:88:00:06"
    here.ok("domiftune", "limited", mac, "--inbound", "1000,2000,512", "--live")
    output = here.ok("domiftune", "limited", tap)
    assert re.search(r"inbound.average\s*: 1000", output)
    assert re.search(r"outbound.average\s*: 0", output)
    assert "htb" in shown("tc", "qdisc", "show", "dev", tap)
    here.ok("domiftune", "limited", mac, "--inbound", "0", "--outbound", "0", "--live", "--config")
    assert "htb" not in shown("tc", "qdisc", "show", "dev", tap)
    assert re.search(r"inbound.average\s*: 0", here.ok("domiftune", "limited", mac, "--config"))


def test_floors_are_classes_of_the_bridge_and_guests_are_listed(here: Daemon, link: Any) -> None:
    limited = (
        NETWORK.replace("<name>lab<", "<name>floors<")
        .replace("vvlab", "vvfloor")
        .replace("10.88.0.", "10.92.0.")
        .replace("<ip ", "<bandwidth><inbound average='1000' peak='2000'/></bandwidth><ip ", 1)
    )
    network = link.networkCreateXML(limited)
    try:
        card = INTERFACE.format(number=21).replace("'lab'", "'floors'")
        reserved = card.replace(
            "<source", "<bandwidth><inbound average='500' floor='300'/></bandwidth><source"
        )
        domain = link.createXML(idle("floored", devices=reserved), 0)
        classes = shown("tc", "class", "show", "dev", "vvfloor")
        assert re.search(r"htb 1:3 parent 1:1 .*rate 2400Kbit ceil 16Mbit", classes)
        assert re.search(r"htb 1:2 parent 1:1 .*rate 5600Kbit ceil 16Mbit", classes)
        assert "match 00880015/ffffffff at -12" in shown("tc", "filter", "show", "dev", "vvfloor")
        macs = json.loads((here.root / "var/lib/libvirt/dnsmasq/vvfloor.macs").read_text())
        assert macs == [{"domain": "floored", "macs": ["52:54:00:88:00:15"]}]
        here.ok("domiftune", "floored", "52:54:00:88:00:15", "--inbound", "500,0,0,900", "--live")
        assert "rate 800Kbit" in shown("tc", "class", "show", "dev", "vvfloor")
        refused = "floor=2001 would overcommit peak=2000 on network 'floors'"
        with pytest.raises(libvirt.libvirtError, match=refused):
            domain.setInterfaceParameters("52:54:00:88:00:15", {"inbound.floor": 2001}, 1)
        domain.destroy()
        classes = shown("tc", "class", "show", "dev", "vvfloor")
        assert "1:3" not in classes
        assert re.search(r"htb 1:2 .*rate 8Mbit", classes)
        assert "00880015" not in shown("tc", "filter", "show", "dev", "vvfloor")
        unlimited = reserved.replace("'floors'", "'lab'")
        with pytest.raises(libvirt.libvirtError, match="network 'lab' has no inbound QoS set"):
            link.createXML(idle("refused", devices=unlimited), 0)
    finally:
        network.destroy()
    assert not (here.root / "var/lib/libvirt/dnsmasq/vvfloor.macs").exists()


@contextlib.contextmanager
def neighbour(bridge: str, address: str) -> Iterator[None]:
    """A host on a bridge, in a network namespace of its own."""
    with subprocess.Popen(["unshare", "-n", "sleep", "600"]) as holder:
        try:
            pid = str(holder.pid)
            own = os.readlink("/proc/self/ns/net")
            wait_until("a namespace", lambda: os.readlink(f"/proc/{pid}/ns/net") != own)
            shown("ip", "link", "add", "name", "leg0", "type", "veth", "peer", "name", "leg1")
            shown("ip", "link", "set", "dev", "leg0", "master", bridge, "up")
            shown("ip", "link", "set", "dev", "leg1", "netns", pid)
            inside = ("nsenter", "-t", pid, "-n", "ip")
            shown(*inside, "addr", "add", f"{address}/24", "dev", "leg1")
            shown(*inside, "link", "set", "dev", "leg1", "up")
            yield
        finally:
            holder.kill()


def sent_bytes(bridge: str, number: str) -> int:
    """What a class of the bridge's traffic has sent, by the kernel's counter."""
    classes = shown("tc", "-s", "class", "show", "dev", bridge)
    counter = re.search(rf"class htb {number} .*\n Sent (\d+) bytes", classes)
    assert counter, classes
    return int(counter[1])


def test_guests_receive_no_more_than_the_network_allows(link: Any) -> None:
    limited = (
        NETWORK.replace("<name>lab<", "<name>narrow<")
        .replace("vvlab", "vvnarrow")
        .replace("10.88.0.", "10.93.0.")
        .replace("<ip ", "<bandwidth><inbound average='1000' burst='64'/></bandwidth><ip ", 1)
    )
    network = link.networkCreateXML(limited)
    try:
        with neighbour("vvnarrow", "10.93.0.2"), socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            ends, samples = time.monotonic() + 5, [(0.0, 0)]
            while time.monotonic() < ends:
                with contextlib.suppress(OSError):  # ENOBUFS, EAGAIN: the class's queue is full
                    sender.sendto(bytes(1400), ("10.93.0.2", 9))
                if time.monotonic() - samples[-1][0] > 0.5:
                    samples.append((time.monotonic(), sent_bytes("vvnarrow", "1:2")))
    finally:
        network.destroy()
    (began, before), (ended, after) = samples[4], samples[-1]  # ARP and the burst are over
    assert 900_000 < (after - before) / (ended - began) < 1_100_000


@pytest.mark.parametrize("mode", ["isolated", "route", "open"])
def test_guest_boots_in_every_forward_mode(here: Daemon, link: Any, tiny: Guest, mode: str) -> None:
    forward = "" if mode == "isolated" else f"<forward mode='{mode}'/>"
    path = here.root / f"{mode}.xml"
    path.write_text(
        NETWORK.replace("<forward mode='nat'/>", forward)
        .replace("<name>lab<", f"<name>{mode}<")
        .replace("vvlab", f"vv{mode}")
        .replace("10.88.0.", "10.91.0.")
    )
    here.ok("net-create", str(path))
    try:
        interface = INTERFACE.format(number=9).replace("'lab'", f"'{mode}'")
        link.createXML(booting(f"on-{mode}", tiny, devices=interface, then="dhcp"), 0)
        console = pexpect.spawn(
            VIRSH, ["-c", here.uri, "console", f"on-{mode}"], timeout=90, encoding="utf-8"
        )
        console.expect("login: ")
        console.sendline("root")
        console.expect("# ")
        console.sendline("ip -4 -o addr show eth0")
        console.expect(r"inet 10\.91\.0\.\d+/24")
        console.sendline("ping -c 1 -W 5 10.91.0.1 >/dev/null && echo reaches-$((40 + 2))")
        console.expect("reaches-42")
        console.sendline("nslookup nine.lab.test")
        console.expect(r"10\.91\.0\.9")
        console.close(force=True)
    finally:
        here.virsh("destroy", f"on-{mode}")
        here.ok("net-destroy", mode)
