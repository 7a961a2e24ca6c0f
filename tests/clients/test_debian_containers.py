"""A whole Debian in an unprivileged container: systemd, a login, the network, limits, its ends."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest
from boxing import Boxes, boxes, groups
from containers import container, lxc_uri
from daemon import VIRSH
from debian_root import PASSWORD, copy_debian_root
from stock import libvirt
from watching import Watch, wait_until

BOOT_S = 30
NETWORK = """<network><name>nat</name><forward mode='nat'/>
<bridge name='virbr8' stp='off' delay='0'/>
<ip address='10.88.0.1' netmask='255.255.255.0'>
<dhcp><range start='10.88.0.10' end='10.88.0.20'/></dhcp></ip></network>"""
CARD = "<interface type='network'><source network='nat'/></interface>"
PASTE_END = "\x1b[?2004l"  # bash tells terminals when it reads
PROMPT = "root@[^ ]*:~# "


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    """A daemon of containers with a network, and a Debian that runs."""
    with boxes() as held:
        root = copy_debian_root(held.rootfs.parent / "debian")
        network = held.link.networkCreateXML(NETWORK)
        xml = container("debian", root, extra=CARD).replace("'MiB'>128", "'MiB'>256")
        domain = held.link.defineXML(xml)
        domain.create()
        try:
            yield held
        finally:
            held.end_all()
            network.destroy()


@pytest.fixture
def debian(box: Boxes) -> Any:
    """The container, running."""
    return box.link.lookupByName("debian")


@contextlib.contextmanager
def login(box: Boxes) -> Iterator[pexpect.spawn[str]]:
    """Stock virsh at its console, as root of the container."""
    words = ["-c", lxc_uri(box.daemon), "console", "debian"]
    terminal = pexpect.spawn(VIRSH, words, timeout=BOOT_S, encoding="utf-8")
    try:
        terminal.expect("Escape character")
        terminal.send("\r")
        terminal.expect("login: ")
        terminal.sendline("root")
        terminal.expect("Password: ")
        terminal.sendline(PASSWORD)
        terminal.expect(PROMPT)
        yield terminal
        terminal.sendline("exit")
        terminal.expect("login: ")
        terminal.send("\x1d")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)


def said(console: pexpect.spawn[str], command: str) -> str:
    """What a command says at the console."""
    console.sendline(f"{command}; echo en''d")
    console.expect("end\r+\n")
    words = str(console.before).partition("\n")[2].replace(PASTE_END, "").replace("\r", "")
    console.expect(PROMPT)
    return words


def failed(console: pexpect.spawn[str]) -> list[str]:
    """The units that failed, once all of the boot is over."""
    said(console, "systemctl is-system-running --wait")
    rows = said(console, "systemctl --failed --plain --no-legend --no-pager").splitlines()
    return [row.split()[0] for row in rows if row]


def test_root_logs_in_at_the_console_of_a_systemd(box: Boxes) -> None:
    with login(box) as console:
        assert "systemd" in said(console, "cat /proc/1/comm")
        assert said(console, "cat /etc/debian_version").startswith("12")
        assert said(console, "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
        assert failed(console) == []


def test_its_address_is_the_network_s_and_packets_go_there(box: Boxes, debian: Any) -> None:
    with login(box) as console:

        def address() -> list[str]:
            found = said(console, "ip -4 address show eth0")
            return re.findall(r"inet (10\.88\.0\.\d+)/24", found)

        wait_until("it has an address", lambda: bool(address()), BOOT_S)
        network = box.link.networkLookupByName("nat")
        wait_until("netd knows of the lease", lambda: bool(network.DHCPLeases()))
        assert [lease["ipaddr"] for lease in network.DHCPLeases()] == address()
        assert ", 0% packet loss" in said(console, "ping -c 2 -i 0.2 10.88.0.1")
        (card,) = debian.interfaceAddresses(0).values()
        assert [found["addr"] for found in card["addrs"]] == address()


def test_a_program_beyond_the_memory_limit_ends_alone(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        assert said(console, "(tail /dev/zero); echo status $?").split()[-1] == "137"
        assert said(console, "systemctl is-active systemd-journald").strip() == "active"
    assert debian.isActive()


def test_what_is_suspended_stands_still(box: Boxes) -> None:
    ticks = box.rootfs.parent / "debian/root/ticks"
    with login(box) as console:
        said(console, "(while :; do echo >> /root/ticks; sleep 0.01; done) & true")
        wait_until("it counts", ticks.exists)
        box.virsh("suspend", "debian")
        before = ticks.stat().st_size
        time.sleep(0.3)  # what would have been thirty more
        assert ticks.stat().st_size == before
        assert box.virsh("domstate", "debian", "--reason").split() == ["paused", "(user)"]
        box.virsh("resume", "debian")
        wait_until("it goes on", lambda: ticks.stat().st_size > before)
        said(console, "kill %1")


def test_a_reboot_brings_a_new_systemd_in_the_same_domain(box: Boxes, debian: Any) -> None:
    boots = "cat /proc/1/stat | cut -d' ' -f22"
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    with login(box) as console:
        number, began = debian.ID(), said(console, boots)
    box.virsh("reboot", "debian")
    watch.expect("debian")
    watch.close()
    with login(box) as console:
        assert said(console, boots) != began
        assert failed(console) == []
        assert "10.88.0." in said(console, "ip -4 address show eth0")
    assert debian.ID() == number


def test_a_shutdown_is_systemd_s_own_and_leaves_nothing(box: Boxes, debian: Any) -> None:
    with login(box) as console:
        assert failed(console) == []
    watch = Watch(box.link)
    box.virsh("shutdown", "debian")
    stopped = libvirt.VIR_DOMAIN_EVENT_STOPPED
    watch.wait_for("debian", stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    watch.close()
    assert not debian.isActive()
    assert box.virsh("domstate", "debian", "--reason").split() == ["shut", "off", "(shutdown)"]
    assert groups("debian") == []
