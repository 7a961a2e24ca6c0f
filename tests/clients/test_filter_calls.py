"""nwfilter calls of virsh and libvirt-python against the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from supervisor.netd.firewall.iptables_save import parse_save
from tests.clients.daemon import Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import wait_until
from tests.clients.guest import Guest
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_network, shown

NETWORK: Final = (
    "<network><name>yard</name><forward mode='nat'/><bridge name='vvyard' stp='off' delay='0'/>"
    "<ip address='10.89.0.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.89.0.100' end='10.89.0.199'/></dhcp></ip></network>"
)
INTERFACE: Final = (
    "<interface type='network'><mac address='52:54:00:89:00:01'/><source network='yard'/>"
    "<model type='virtio'/><filterref filter='{filter}'/></interface>"
)
UUID: Final = "d54df46f-1ab5-4a22-8618-4560ef5fac2c"
TAPS: Final = 8


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon in a network namespace with some devices."""
    with own_network():
        for number in range(TAPS):
            shown("ip", "tuntap", "add", f"tap{number}", "mode", "tap")
        shown("ip", "link", "set", "lo", "up")
        with Daemon() as running:
            running.ok("net-create", written(running, "yard.xml", NETWORK))
            yield running
            running.ok("net-destroy", "yard")


@pytest.fixture(autouse=True)
def _same_network(daemon: Daemon) -> None:
    """Look at the daemon's network, not at the machine's."""
    assert os.readlink("/proc/thread-self/ns/net") == os.readlink(
        f"/proc/{daemon.process.pid if daemon.process else 0}/ns/net"
    )


def written(daemon: Daemon, name: str, text: str) -> str:
    path = Path(daemon.root) / name
    path.write_text(text)
    return str(path)


def binding(tap: str, filter: str, address: str = "10.0.0.2") -> str:
    return (
        f"<filterbinding><owner><name>web</name><uuid>{UUID}</uuid></owner>"
        f"<portdev name='{tap}'/><mac address='52:54:00:00:00:01'/>"
        f"<filterref filter='{filter}'><parameter name='IP' value='{address}'/></filterref>"
        "</filterbinding>"
    )


def test_packaged_filters_are_listed(daemon: Daemon) -> None:
    assert "clean-traffic" in daemon.ok("nwfilter-list")
    xml = daemon.ok("nwfilter-dumpxml", "clean-traffic")
    assert "<filterref filter='no-mac-spoofing'/>" in xml


def test_filter_is_defined_looked_up_undefined(daemon: Daemon) -> None:
    document = written(
        daemon,
        "mine.xml",
        "<filter name='mine' chain='ipv4'><rule action='drop' direction='in'>"
        "<ip srcipaddr='10.9.9.9'/></rule></filter>",
    )
    daemon.ok("nwfilter-define", document)
    xml = daemon.ok("nwfilter-dumpxml", "mine")
    assert "<ip srcipaddr='10.9.9.9'/>" in xml
    uuid = xml.partition("<uuid>")[2].partition("</uuid>")[0]
    assert daemon.ok("nwfilter-dumpxml", uuid) == xml
    assert (Path(daemon.root) / "etc/libvirt/nwfilter/mine.xml").exists()
    daemon.ok("nwfilter-undefine", "mine")
    assert (
        "no nwfilter with matching name 'mine'" in daemon.virsh("nwfilter-dumpxml", "mine").stderr
    )


def test_invalid_filters_have_libvirts_codes(daemon: Daemon) -> None:
    with_bad_port = (
        "<filter name='bad'><rule action='drop' direction='in'>"
        "<tcp dstportstart='65536'/></rule></filter>"
    )
    connection = libvirt.open(daemon.uri)
    try:
        with pytest.raises(libvirt.libvirtError, match="dstportstart has illegal value") as refused:
            connection.nwfilterDefineXML(with_bad_port)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
        assert refused.value.get_error_domain() == libvirt.VIR_FROM_NWFILTER
    finally:
        connection.close()


def test_binding_filters_the_tap_until_deleted(daemon: Daemon) -> None:
    daemon.ok("nwfilter-binding-create", written(daemon, "b.xml", binding("tap0", "clean-traffic")))
    assert "tap0" in daemon.ok("nwfilter-binding-list")
    assert "clean-traffic" in daemon.ok("nwfilter-binding-dumpxml", "tap0")
    assert "libvirt-I-tap0" in shown("ebtables-save")
    again = daemon.virsh("nwfilter-binding-create", str(Path(daemon.root) / "b.xml"))
    assert "binding 'tap0' already exists" in again.stderr
    assert "in use" in daemon.virsh("nwfilter-undefine", "no-mac-spoofing").stderr
    daemon.ok("nwfilter-binding-delete", "tap0")
    assert "tap0" not in shown("ebtables-save")
    missing = daemon.virsh("nwfilter-binding-dumpxml", "tap0").stderr
    assert "no nwfilter binding for port dev 'tap0'" in missing


def test_binding_to_a_missing_filter_leaves_nothing(daemon: Daemon) -> None:
    document = written(daemon, "b.xml", binding("tap0", "not-there"))
    assert "referenced filter 'not-there' is missing" in (
        daemon.virsh("nwfilter-binding-create", document).stderr
    )
    assert "tap0" not in daemon.ok("nwfilter-binding-list")


def netd(daemon: Daemon) -> int:
    rows = [row for row in daemon.status() if row["name"] == "netd"]
    return int(rows[0]["pid"] or 0)


def wait_for_another(daemon: Daemon, former: int) -> None:
    wait_until("another netd", lambda: netd(daemon) not in (former, 0), 20)


def test_traffic_stays_filtered_when_netd_is_killed(daemon: Daemon) -> None:
    daemon.ok("nwfilter-binding-create", written(daemon, "b.xml", binding("tap0", "clean-traffic")))
    rules = shown("ebtables-save").splitlines()[1:-1]
    killed = netd(daemon)
    os.kill(killed, signal.SIGKILL)
    assert shown("ebtables-save").splitlines()[1:-1] == rules
    wait_for_another(daemon, killed)
    assert "tap0" in daemon.ok("nwfilter-binding-list")
    daemon.ok("nwfilter-binding-delete", "tap0")
    assert "tap0" not in shown("ebtables-save")


def test_rules_match_the_files_after_netd_is_killed(daemon: Daemon) -> None:
    stop = threading.Event()

    def live() -> None:
        connection = libvirt.open(daemon.uri)
        while not stop.is_set():
            for tap in ("tap1", "tap2"):
                try:
                    made = connection.nwfilterBindingCreateXML(binding(tap, "clean-traffic"))
                    made.delete()
                except libvirt.libvirtError:
                    continue
        connection.close()

    living = threading.Thread(target=live)
    living.start()
    try:
        for _ in range(3):
            killed = netd(daemon)
            os.kill(killed, signal.SIGKILL)
            wait_for_another(daemon, killed)
    finally:
        stop.set()
        living.join(60)
    bound = daemon.ok("nwfilter-binding-list")
    rules = shown("ebtables-save")
    for tap in ("tap1", "tap2"):
        assert (tap in bound) == (tap in rules), f"{bound}\n{rules}"
        if tap in bound:
            daemon.ok("nwfilter-binding-delete", tap)
    assert "tap" not in shown("ebtables-save")


def test_reload_restores_flushed_rules(daemon: Daemon) -> None:
    daemon.ok("nwfilter-binding-create", written(daemon, "b.xml", binding("tap0", "clean-traffic")))
    before = shown("ebtables-save").splitlines()[1:-1], shown("iptables", "-S")
    shown("ebtables", "-t", "nat", "-F")
    shown("iptables", "-F")
    assert shown("iptables", "-S") != before[1]
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(
        "all rules",
        lambda: (shown("ebtables-save").splitlines()[1:-1], shown("iptables", "-S")) == before,
        20,
    )
    daemon.ok("nwfilter-binding-delete", "tap0")


def test_concurrent_clients_leave_no_rules(daemon: Daemon) -> None:
    def live(number: int) -> None:
        connection = libvirt.open(daemon.uri)
        try:
            for turn in range(3):
                connection.nwfilterDefineXML(
                    "<filter name='shared' chain='ipv4'><rule action='drop' direction='out'>"
                    f"<ip dstipaddr='10.{number}.{turn}.1'/></rule></filter>"
                )
                if number < TAPS:
                    made = connection.nwfilterBindingCreateXML(binding(f"tap{number}", "shared"))
                    connection.nwfilterDefineXML(
                        "<filter name='shared' chain='ipv4'><rule action='drop' direction='out'>"
                        f"<ip dstipaddr='10.{number}.{turn}.2'/></rule></filter>"
                    )
                    made.delete()
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        for done in [threads.submit(live, number) for number in range(20)]:
            done.result(60)
    daemon.ok("nwfilter-undefine", "shared")
    assert "tap" not in shown("ebtables-save")
    assert [path.name for path in (daemon.root / "run/libvirt/nwfilter-binding").iterdir()] == []


def test_read_only_connections_change_nothing(daemon: Daemon) -> None:
    done = subprocess.run(
        ["virsh", "-c", daemon.read_only_uri, "nwfilter-undefine", "allow-arp"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "allow-arp" in daemon.ok("nwfilter-list")


def started(daemon: Daemon, xml: str) -> subprocess.CompletedProcess[str]:
    return daemon.virsh("create", written(daemon, "guest.xml", xml))


def test_guest_is_filtered_from_start_to_end(daemon: Daemon) -> None:
    made = started(daemon, idle("kept", devices=INTERFACE.format(filter="clean-traffic")))
    assert made.returncode == 0, made.stderr
    tap = daemon.ok("nwfilter-binding-list").split()[-2]
    saved = parse_save(shown("ebtables-save"))["nat"]
    assert saved.has("PREROUTING", ("-i", tap, "-j", f"libvirt-I-{tap}"))
    learning = ("-s", "!", "52:54:00:89:00:01", "-j", "DROP")
    assert saved.has(f"libvirt-I-{tap}", learning), "its address is being learned"
    assert "<name>kept</name>" in daemon.ok("nwfilter-binding-dumpxml", tap)
    daemon.ok("destroy", "kept")
    wait_until("no rules", lambda: tap not in shown("ebtables-save"))
    assert tap not in daemon.ok("nwfilter-binding-list")


def test_guest_with_a_missing_filter_does_not_start(daemon: Daemon) -> None:
    made = started(daemon, idle("unlucky", devices=INTERFACE.format(filter="not-there")))
    assert "referenced filter 'not-there' is missing" in made.stderr
    assert "vnet" not in shown("ip", "-o", "link")
    assert "vnet" not in shown("ebtables-save")


def test_guest_address_is_learned(daemon: Daemon, tiny: Guest) -> None:
    interface = INTERFACE.format(filter="clean-traffic")
    made = started(daemon, booting("asking", tiny, devices=interface, then="dhcp"))
    assert made.returncode == 0, made.stderr
    tap = daemon.ok("nwfilter-binding-list").split()[-2]
    wait_until(
        "its address in the rules", lambda: "--ip-src 10.89.0.1" in shown("ebtables-save"), 60
    )
    assert f"-A I-{tap}-arp-mac -p ARP --arp-mac-src 52:54:00:89:00:01 -j RETURN" in (
        shown("ebtables-save")
    )
    daemon.ok("destroy", "asking")
    wait_until("no rules", lambda: tap not in shown("ebtables-save"))


def test_nftables_backend_end_to_end() -> None:
    own = Daemon()
    settings = own.root / "etc/libvirt/network.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text('firewall_backend = "nftables"\n')
    with own_network():
        shown("ip", "link", "set", "lo", "up")
        with own as daemon:
            daemon.ok("net-create", written(daemon, "yard.xml", NETWORK))
            made = started(daemon, idle("kept", devices=INTERFACE.format(filter="clean-traffic")))
            assert made.returncode == 0, made.stderr
            rules = shown("nft", "list", "ruleset")
            assert '"vvyard" : jump to_host_vvyard' in rules
            assert "jump sent/vnet0" in rules
            assert "vvyard" not in shown("iptables-save")
            daemon.ok("destroy", "kept")
            daemon.ok("net-destroy", "yard")
            wait_until("no rules", lambda: "vnet0" not in shown("nft", "list", "ruleset"))
            assert "vvyard" not in shown("nft", "list", "ruleset")
