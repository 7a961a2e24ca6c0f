"""Containers' definitions, lists, events and URIs through stock clients, beside QEMU's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.containers import container, lxc_uri
from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EventLoop, Watch
from tests.clients.libvirt_binding import libvirt, libvirt_lxc

ROOT = Path("/")
#: Flags that QEMU's guests know and containers do not.
NVRAM = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
FORCE_BOOT = libvirt.VIR_DOMAIN_START_FORCE_BOOT
GRACEFUL = libvirt.VIR_DOMAIN_DESTROY_GRACEFUL
AGENT = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT


@pytest.fixture
def lxc(daemon: Daemon) -> Iterator[Any]:
    """A read-write connection to the daemon's containers; none is left when it closes."""
    EventLoop.start()
    connection = libvirt.open(lxc_uri(daemon))
    yield connection
    for domain in connection.listAllDomains():
        domain.undefine()
    connection.close()


def written(folder: Path, xml: str) -> str:
    path = folder / "domain.xml"
    path.write_text(xml)
    return str(path)


def test_virsh_defines_lists_dumps_and_undefines_a_container(
    daemon: Daemon, tmp_path: Path
) -> None:
    uri = lxc_uri(daemon)

    def ok(*words: str) -> str:
        done = daemon.virsh(*words, uri=uri)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "defined" in ok("define", written(tmp_path, container("box", ROOT)))
    assert ok("list", "--all").split()[-4:] == ["-", "box", "shut", "off"]
    assert (daemon.root / "etc/libvirt/lxc/box.xml").exists()
    shown = ok("dumpxml", "box")
    assert "<domain type='lxc'>" in shown
    assert "<emulator>/usr/lib/libvirt/libvirt_lxc</emulator>" in shown
    info = dict(line.split(":", 1) for line in ok("dominfo", "box").splitlines() if ":" in line)
    assert info["OS Type"].strip() == "exe"
    assert info["Max memory"].strip() == "131072 KiB"
    ok("autostart", "box")
    link = daemon.root / "etc/libvirt/lxc/autostart/box.xml"
    assert os.readlink(link) == str(daemon.root / "etc/libvirt/lxc/box.xml")
    ok("autostart", "box", "--disable")
    assert not link.is_symlink()
    ok("desc", "box", "--config", "the test's")
    assert ok("desc", "box").strip() == "the test's"
    ok("undefine", "box")
    assert not (daemon.root / "etc/libvirt/lxc/box.xml").exists()


def test_drivers_do_not_see_each_others_domains_and_events(
    daemon: Daemon, lxc: Any, link: Any
) -> None:
    boxes, guests = Watch(lxc), Watch(link)
    for connection, xml in ((lxc, container("both", ROOT)), (link, idle("both"))):
        domain = connection.defineXML(xml)  # one name, once in each
        assert [each.name() for each in connection.listAllDomains()] == ["both"]
        domain.undefine()
    lxc.defineXML(container("last-box", ROOT))
    link.defineXML(idle("last-guest"))
    defined, undefined = libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED
    for watch, last in ((boxes, "last-box"), (guests, "last-guest")):
        watch.expect("both", defined, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)
        watch.expect("both", undefined, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
        watch.expect(last, defined, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)
        watch.close()


def test_a_container_and_a_qemu_domain_may_have_the_same_uuid(lxc: Any, link: Any) -> None:
    box = lxc.defineXML(container("twin", ROOT))
    guest = link.defineXML(
        idle("twin").replace("</name>", f"</name><uuid>{box.UUIDString()}</uuid>")
    )
    assert guest.UUID() == box.UUID()
    assert (box.OSType(), guest.OSType()) == ("exe", "hvm")


def test_the_connection_reports_type_uri_and_version(daemon: Daemon, lxc: Any) -> None:
    assert lxc.getType() == "LXC"
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    assert lxc.getVersion() // 1000 == major * 1000 + minor
    assert '<domain type="lxc"/>' in lxc.getCapabilities().replace("'", '"')
    assert "<domain>lxc</domain>" in lxc.getDomainCapabilities()
    assert lxc.getHostname() == os.uname().nodename
    assert lxc.getInfo()[2] > 0


def test_networks_pools_and_secrets_are_shared_by_both_drivers(lxc: Any, link: Any) -> None:
    pool = "<pool type='dir'><name>shared</name><target><path>/tmp</path></target></pool>"
    secret = "<secret ephemeral='yes' private='no'><description>shared</description></secret>"
    made = lxc.secretDefineXML(secret)
    kept = link.storagePoolDefineXML(pool)
    try:
        assert link.secretLookupByUUID(made.UUID()).UUID() == made.UUID()
        assert lxc.storagePoolLookupByName("shared").UUID() == kept.UUID()
        assert [n.name() for n in lxc.listAllNetworks()] == [
            n.name() for n in link.listAllNetworks()
        ]
    finally:
        made.undefine()
        kept.undefine()


@pytest.mark.parametrize(
    "call",
    [
        lambda box: box.reset(),
        lambda box: box.injectNMI(),
        lambda box: box.maxVcpus(),
        lambda box: box.rename("other"),
        lambda box: box.managedSaveRemove(),
        lambda box: box.pMWakeup(),
        lambda box: box.detachDeviceAlias("net0"),
        lambda box: box.interfaceParameters("eth0"),
        lambda box: box.controlInfo(),
        lambda box: box.save("/tmp/never"),
        lambda box: box.snapshotCreateXML("<domainsnapshot/>"),
        lambda box: box.connect().getMaxVcpus("lxc"),
        lambda box: box.connect().getCPUModelNames("x86_64"),
        lambda box: box.connect().compareCPU("<cpu/>"),
    ],
)
def test_calls_without_meaning_for_a_container_fail_with_no_support(lxc: Any, call: Any) -> None:
    box = lxc.defineXML(container("plain", ROOT))
    with pytest.raises(libvirt.libvirtError) as refused:
        call(box)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
    assert box.name() == "plain"


def test_lxc_calls_on_a_qemu_domain_are_refused(link: Any) -> None:
    guest = link.defineXML(idle("guest"))
    with pytest.raises(libvirt.libvirtError) as refused:
        libvirt_lxc.lxcOpenNamespace(guest, 0)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda box: box.destroy(), "VIR_ERR_OPERATION_INVALID"),
        (lambda box: box.suspend(), "VIR_ERR_OPERATION_INVALID"),
        (lambda box: box.shutdown(), "VIR_ERR_OPERATION_INVALID"),
        (lambda box: box.memoryStats(), "VIR_ERR_OPERATION_INVALID"),
        (lambda box: box.undefineFlags(NVRAM), "VIR_ERR_INVALID_ARG"),
        (lambda box: box.createWithFlags(FORCE_BOOT), "VIR_ERR_INVALID_ARG"),
        (lambda box: box.destroyFlags(GRACEFUL), "VIR_ERR_INVALID_ARG"),
        (lambda box: box.shutdownFlags(AGENT), "VIR_ERR_INVALID_ARG"),
    ],
)
def test_calls_that_do_not_fit_the_containers_state_are_refused(
    lxc: Any, call: Any, code: str
) -> None:
    box = lxc.defineXML(container("off", ROOT))
    with pytest.raises(libvirt.libvirtError) as refused:
        call(box)
    assert refused.value.get_error_code() == getattr(libvirt, code)


def test_errors_of_the_registry_have_the_drivers_error_domain(lxc: Any) -> None:
    box = lxc.defineXML(container("named", ROOT))
    with pytest.raises(libvirt.libvirtError, match="lxcDomainUndefineFlags") as refused:
        box.undefineFlags(NVRAM)
    assert refused.value.get_error_domain() == libvirt.VIR_FROM_LXC
    with pytest.raises(libvirt.libvirtError) as refused:
        lxc.lookupByName("nobody")
    assert refused.value.get_error_domain() == libvirt.VIR_FROM_LXC
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


@pytest.mark.parametrize(
    "wrong",
    [
        idle("wrong"),
        container("wrong", ROOT).replace("exe", "hvm"),
        container("wrong", ROOT, extra="<graphics type='vnc'/>"),
        container("wrong", ROOT, idmap="<idmap><uid start='5' target='1' count='1'/></idmap>"),
    ],
)
def test_xml_that_is_not_a_containers_is_refused_and_defines_nothing(
    daemon: Daemon, lxc: Any, wrong: str
) -> None:
    with pytest.raises(libvirt.libvirtError) as refused:
        lxc.defineXML(wrong)
    assert refused.value.get_error_code() in (
        libvirt.VIR_ERR_INVALID_ARG,  # no such guests: libvirt's code for the domain's type
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_INTERNAL_ERROR,
    )
    assert lxc.listAllDomains() == []
    assert not (daemon.root / "etc/libvirt/lxc/wrong.xml").exists()


def test_the_qemu_driver_refuses_a_containers_xml(link: Any) -> None:
    with pytest.raises(libvirt.libvirtError):
        link.defineXML(container("box", ROOT))
    assert link.listAllDomains() == []


def test_a_name_and_a_uuid_belong_to_one_container(lxc: Any) -> None:
    box = lxc.defineXML(container("first", ROOT))
    for xml in (
        container("first", ROOT),  # with a new UUID
        box.XMLDesc().replace("<name>first<", "<name>second<"),
    ):
        with pytest.raises(libvirt.libvirtError) as refused:
            lxc.defineXML(xml)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED


@pytest.mark.parametrize("path", ["session", "elsewhere", "system/x"])
def test_other_uri_paths_of_lxc_are_refused(daemon: Daemon, path: str) -> None:
    done = daemon.virsh("uri", uri=lxc_uri(daemon).replace("///system", f"///{path}"))
    assert done.returncode != 0
    assert f"Unexpected LXC URI path '/{path}'" in done.stderr


def test_the_uri_without_a_path_is_the_system_daemons(daemon: Daemon) -> None:
    done = daemon.virsh("list", uri=lxc_uri(daemon).replace("///system", "///"))
    assert done.returncode == 0, done.stderr


def test_a_read_only_client_may_query_and_change_nothing(daemon: Daemon, lxc: Any) -> None:
    box = lxc.defineXML(container("shown", ROOT))
    reader = libvirt.openReadOnly(lxc_uri(daemon, read_only=True))
    try:
        seen = reader.lookupByName("shown")
        assert seen.UUID() == box.UUID()
        for call in (
            seen.create,
            seen.undefine,
            lambda: reader.defineXML(container("other", ROOT)),
            lambda: libvirt_lxc.lxcOpenNamespace(seen, 0),
        ):
            with pytest.raises(libvirt.libvirtError) as refused:
                call()
            assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    finally:
        reader.close()


def test_definitions_survive_a_kill_of_lxcd(daemon: Daemon, lxc: Any) -> None:
    lxc.defineXML(container("kept", ROOT)).setAutostart(1)
    keeper = next(row["pid"] for row in daemon.status() if row["name"] == "lxcd")
    os.kill(keeper, 9)
    box = lxc.lookupByName("kept")
    assert box.autostart() == 1
    assert any(row["name"] == "lxcd" and row["pid"] != keeper for row in daemon.status())
