"""dnsmasq's configuration and the lease database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.network import parse_network
from supervisor.netd.dnsmasq import lease_script
from supervisor.netd.dnsmasq.config import plan_config
from supervisor.netd.dnsmasq.files import install_script, write_config
from supervisor.netd.dnsmasq.leases import parse_leases, read_leases
from supervisor.netd.dnsmasq.process import DnsmasqPaths, writes_leases

FILES = DnsmasqPaths.for_network(Path("/d"), Path("/r"), "n", "b0")
TOP = "<network><name>n</name>{}<bridge name='b0'/>{}</network>"
NAT = "<forward mode='nat'/>"
IP4 = "<ip address='10.0.0.1' netmask='255.255.255.0'>{}</ip>"


def lines(forward: str, rest: str) -> list[str]:
    texts = plan_config(parse_network(TOP.format(forward, rest)), FILES, user="")
    assert texts is not None
    return [line for line in texts.config.splitlines() if not line.startswith("#")]


def test_dhcp_configuration_is_libvirts() -> None:
    found = lines(NAT, IP4.format("<dhcp><range start='10.0.0.2' end='10.0.0.254'/></dhcp>"))
    assert found == [
        "strict-order",
        "pid-file=/r/n.pid",
        "except-interface=lo",
        "bind-dynamic",
        "interface=b0",
        "dhcp-range=10.0.0.2,10.0.0.254,255.255.255.0",
        "dhcp-no-override",
        "dhcp-authoritative",
        "dhcp-lease-max=253",
        "dhcp-hostsfile=/d/n.hostsfile",
        "addn-hosts=/d/n.addnhosts",
    ]


@pytest.mark.skipif(shutil.which("dnsmasq", path="/usr/sbin") is None, reason="needs dnsmasq")
def test_network_name_with_a_quote_is_read_by_dnsmasq(tmp_path: Path) -> None:
    paths = DnsmasqPaths.for_network(Path("/d"), Path("/r"), 'n"\\q', "b0")
    network = parse_network(TOP.format("", IP4.format("")).replace(">n<", '>n"\\q<'))
    texts = plan_config(network, paths, user="")
    assert texts is not None
    assert 'pid-file="/r/n\\"\\\\q.pid"' in texts.config.splitlines()
    (tmp_path / "dnsmasq.conf").write_text(texts.config)
    tested = subprocess.run(
        ["/usr/sbin/dnsmasq", "--test", f"--conf-file={tmp_path}/dnsmasq.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stderr


def test_isolated_networks_have_no_router_and_no_forwarders() -> None:
    found = lines("", IP4.format("<dhcp><range start='10.0.0.2' end='10.0.0.9'/></dhcp>"))
    assert {"dhcp-option=3", "no-resolv", "ra-param=*,0,0"} <= set(found)


def test_dns_forwarders_hosts_and_records() -> None:
    dns = (
        "<dns forwardPlainNames='no'><forwarder addr='8.8.8.8'/><forwarder domain='c.test' "
        "addr='10.1.1.1'/><txt name='t' value='v'/><srv service='s' protocol='tcp' domain='d' "
        "target='x' port='7' priority='1' weight='2'/><host ip='10.0.0.9'><hostname>h</hostname>"
        "<hostname>g</hostname></host></dns>"
    )
    domain = "<domain name='d.test' localOnly='yes'/>"
    network = parse_network(TOP.format(NAT, domain + dns + IP4.format("")))
    texts = plan_config(network, FILES, user="nobody")
    assert texts is not None
    assert {
        "user=nobody", "server=8.8.8.8", "server=/c.test/10.1.1.1", "no-resolv", "local=/d.test/",
        "domain=d.test", "expand-hosts", "domain-needed", "txt-record=t,v",
        "srv-host=_s._tcp.d,x,7,1,2",
    } <= set(texts.config.splitlines())  # fmt: skip
    assert texts.names == "10.0.0.9\th\tg\n"


def test_dhcp_reservations_and_router_advertisements() -> None:
    six = "<ip family='ipv6' address='fd00::1' prefix='64'>{}</ip>"
    host = "<host mac='52:54:00:00:00:01' name='a' ip='10.0.0.5'>"
    host += "<lease expiry='2' unit='hours'/></host>"
    network = parse_network(
        TOP.format(
            NAT,
            IP4.format(f"<dhcp>{host}</dhcp>")
            + six.format("<dhcp><host id='0:1' name='b' ip='fd00::5'/></dhcp>"),
        )
    )
    texts = plan_config(network, FILES, user="")
    assert texts is not None
    assert texts.hosts.splitlines() == ["52:54:00:00:00:01,10.0.0.5,a,2h", "id:0:1,b,[fd00::5]"]
    assert {"dhcp-range=10.0.0.1,static", "dhcp-range=fd00::1,static,64", "enable-ra"} <= set(
        texts.config.splitlines()
    )
    assert "dhcp-range=fd00::1,ra-only" in lines(NAT, six.format(""))


def test_network_without_dhcp_and_dns_has_no_dnsmasq() -> None:
    assert plan_config(parse_network(TOP.format("", "")), FILES, user="") is None
    quiet = "<dns enable='no'/>" + IP4.format("")
    assert plan_config(parse_network(TOP.format(NAT, quiet)), FILES, user="") is None


ENVIRON = {"DNSMASQ_LEASE_EXPIRES": "2000", "DNSMASQ_CLIENT_ID": "01:02"}


def test_leases_are_added_renewed_deleted_and_expire() -> None:
    one = lease_script.update_leases(
        [], ["add", "52:54:00:00:00:01", "10.0.0.2", "peer"], ENVIRON, 1000
    )
    assert one == [
        {
            "ip-address": "10.0.0.2",
            "mac-address": "52:54:00:00:00:01",
            "hostname": "peer",
            "client-id": "01:02",
            "expiry-time": 2000,
        }
    ]
    again = lease_script.update_leases(one, ["old", "52:54:00:00:00:01", "10.0.0.2"], {}, 1500)
    assert [each["ip-address"] for each in again] == ["10.0.0.2"]
    assert lease_script.update_leases(one, ["del", "52:54:00:00:00:01", "10.0.0.2"], {}, 1500) == []
    other = lease_script.update_leases(one, ["add", "52:54:00:00:00:02", "10.0.0.3"], ENVIRON, 2001)
    assert [each["ip-address"] for each in other] == ["10.0.0.3"]
    assert [str(lease.address) for lease in parse_leases(json.dumps(one).encode(), 1999, "")] == [
        "10.0.0.2"
    ]
    assert parse_leases(json.dumps(one).encode(), 2000, "") == []


def test_lease_script_writes_and_returns_the_database(tmp_path: Path) -> None:
    install_script(tmp_path)
    database = tmp_path / "b0.status"
    environ = {"PATH": os.environ["PATH"], "VIRTVISOR_LEASES": str(database)}

    def run(*words: str, **more: str) -> str:
        done = subprocess.run(
            [tmp_path / "lease-script", *words],
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout

    assert run("init") == ""
    never = {"DNSMASQ_LEASE_EXPIRES": "9999999999"}
    run("add", "52:54:00:00:00:01", "10.0.0.2", "peer", **never)
    run("add", "00:01:00:01", "fd00::2", **never, DNSMASQ_IAID="7", DNSMASQ_SERVER_DUID="00:aa")
    assert run("init").splitlines() == [
        "9999999999 52:54:00:00:00:01 10.0.0.2 peer *",
        "duid 00:aa",
        "9999999999 7 fd00::2 * 00:01:00:01",
    ]
    found = read_leases(database, 0)
    assert [(lease.family, lease.iaid) for lease in found] == [(4, ""), (6, "7")]
    run("del", "52:54:00:00:00:01", "10.0.0.2")
    assert len(read_leases(database, 0)) == 1
    assert sys.executable in (tmp_path / "lease-script").read_text()


@given(st.binary(max_size=200))
def test_damaged_lease_database_is_empty(data: bytes) -> None:
    assert all(lease.address for lease in parse_leases(data, 0, "hostile"))


STOCK = json.loads((Path(__file__).with_name("stock_dnsmasq.json")).read_text())


@pytest.mark.parametrize("case", STOCK, ids=range(len(STOCK)))
def test_configuration_matches_stock_libvirtd(case: dict[str, Any]) -> None:
    """Measured on libvirt 9.0.0 with these networks running; comments are left out."""
    network = parse_network(case["document"])
    folder, states = Path("/var/lib/libvirt/dnsmasq"), Path("/run/libvirt/network")
    texts = plan_config(
        network, DnsmasqPaths.for_network(folder, states, network.name, "b"), user=""
    )
    if case["config"] is None:
        assert texts is None
        return
    assert texts is not None
    lines = [line for line in texts.config.splitlines() if not line.startswith("#")]
    assert lines == case["config"]
    assert (texts.hosts.split(), texts.names.split()) == (case["hosts"], case["names"])


def test_a_comment_is_no_change_that_dnsmasq_has_to_read(tmp_path: Path) -> None:
    paths = DnsmasqPaths.for_network(tmp_path, tmp_path, "n", "b0")
    config = plan_config(parse_network(TOP.format(NAT, IP4.format(""))), paths, user="")
    assert config is not None
    assert write_config(config)
    text = paths.config.read_text()
    settings = text[text.index("strict-order") :]
    paths.config.write_text(f"##WARNING: of libvirt's daemon\n{settings}")
    assert not write_config(config)
    assert paths.config.read_text() == text
    paths.config.write_text(f"{text}no-hosts\n")
    assert write_config(config)


def test_a_dnsmasq_whose_lease_program_was_removed_is_replaced(tmp_path: Path) -> None:
    script = tmp_path / "leaseshelper"
    argv = ["/usr/sbin/dnsmasq", "--conf-file=/x", f"--dhcp-script={script}"]
    assert not writes_leases(argv)
    script.touch(mode=0o755)
    assert writes_leases(argv)
    assert writes_leases(argv[:2])
