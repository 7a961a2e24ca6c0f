"""Lists, events, metadata and statistics of running containers; namespace descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container, lxc_uri
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt, libvirt_lxc

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

CPU = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
MEMORY = libvirt.VIR_DOMAIN_STATS_BALLOON


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        yield held


@pytest.fixture(autouse=True)
def nothing_is_left(box: Boxes) -> Iterator[None]:
    yield
    box.end_all()


def running(box: Boxes, name: str) -> Any:
    domain = box.link.defineXML(container(name, box.rootfs))
    domain.create()
    return domain


def test_cpu_time_and_memory_are_those_of_the_container_s_cgroup(box: Boxes) -> None:
    busy = box.rootfs / "sbin/busy"
    busy.write_text("#!/bin/sh\n(while :; do :; done) &\nexec sleep 1000\n")  # not init's own time
    busy.chmod(0o755)
    domain = box.link.defineXML(container("busy", box.rootfs, init="/sbin/busy"))
    domain.create()
    state, most, used, processors, before = domain.info()
    assert (state, most, processors) == (libvirt.VIR_DOMAIN_RUNNING, 131072, 1)
    assert 0 < used < 131072
    wait_until("time goes on", lambda: domain.info()[4] - before > 200_000_000)  # ns
    (told, figures), *others = box.link.getAllDomainStats(CPU | MEMORY)
    assert (told.name(), others) == ("busy", [])
    assert figures["cpu.time"] > before
    assert figures["balloon.maximum"] == 131072
    assert 0 < figures["balloon.rss"] < 131072


def test_a_running_container_is_listed_by_every_matching_filter(box: Boxes) -> None:
    domain = running(box, "listed")
    off = box.link.defineXML(container("off", box.rootfs))
    assert [each.name() for each in box.link.listAllDomains(1)] == ["listed"]
    assert [each.name() for each in box.link.listAllDomains(2)] == [off.name()]
    assert box.link.listDomainsID() == [domain.ID()]
    assert box.link.lookupByID(domain.ID()).name() == "listed"
    assert box.link.numOfDefinedDomains() == 1
    live = domain.XMLDesc()
    assert f"id='{domain.ID()}'" in live
    assert "id='" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).partition("<devices>")[0]


def test_a_transient_container_is_removed_when_it_stops(box: Boxes) -> None:
    watch = Watch(box.link)
    domain = box.link.createXML(container("passing", box.rootfs))
    assert (domain.isPersistent(), domain.isActive()) == (0, 1)
    domain.destroy()
    assert box.link.listAllDomains() == []
    started, stopped = libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STOPPED
    watch.expect("passing", started, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
    watch.expect("passing", stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
    watch.close()


def test_a_running_container_that_is_undefined_becomes_transient(box: Boxes) -> None:
    domain = running(box, "forgotten")
    domain.undefine()
    assert (domain.isPersistent(), domain.isActive()) == (0, 1)
    domain.destroy()
    assert box.link.listAllDomains() == []


def test_a_redefinition_of_a_running_container_applies_at_the_next_start(box: Boxes) -> None:
    domain = running(box, "anew")
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("131072", "65536")
    box.link.defineXML(xml)
    assert domain.info()[1] == 131072
    domain.destroy()
    domain.create()
    assert domain.info()[1] == 65536


def test_metadata_is_set_live_and_in_the_definition(box: Boxes) -> None:
    domain = running(box, "noted")
    description = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
    domain.setMetadata(description, "now", None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain.setMetadata(description, "later", None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert domain.metadata(description, None) == "now"
    domain.destroy()
    assert domain.metadata(description, None) == "later"


def test_autostart_happens_once_per_boot_of_the_host(box: Boxes) -> None:
    domain = box.link.defineXML(container("early", box.rootfs))
    domain.setAutostart(1)
    box.daemon.stop()
    box.daemon.start()
    box.link = libvirt.open(lxc_uri(box.daemon))
    assert not box.link.lookupByName("early").isActive()  # this boot has had its start
    box.daemon.stop()
    (box.daemon.root / "run/libvirt/lxc/autostarted").write_text("another boot\n")
    box.daemon.start()
    box.link = libvirt.open(lxc_uri(box.daemon))
    domain = box.link.lookupByName("early")
    wait_until("it runs", lambda: domain.isActive() == 1)
    domain.setAutostart(0)


def test_namespace_descriptors_are_passed_to_the_client(box: Boxes) -> None:
    own_network = "<features><privnet/></features><devices>"
    xml = container("opened", box.rootfs).replace("<devices>", own_network)
    domain = box.link.defineXML(xml)
    domain.create()
    descriptors = libvirt_lxc.lxcOpenNamespace(domain, 0)
    try:
        kinds = [os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in descriptors]
        assert sorted(kinds) == ["ipc", "mnt", "net", "pid", "user", "uts"]
        assert kinds[0] == "user"  # it is entered first: the others' owner
        own = {os.stat(f"/proc/self/ns/{kind}").st_ino for kind in kinds if kind != "net"}
        given = {
            os.fstat(fd).st_ino
            for fd, kind in zip(descriptors, kinds, strict=True)
            if kind != "net"
        }
        assert not own & given
    finally:
        for fd in descriptors:
            os.close(fd)


def test_stock_virsh_runs_a_program_in_a_container(box: Boxes) -> None:
    running(box, "entered")
    assert box.inside("entered", "/bin/hostname").strip() == "entered"
    seen = box.inside("entered", "/bin/ps")
    assert "/sbin/init" in seen
    assert "libvirtd" not in seen


def test_namespaces_of_an_inactive_container_and_unknown_flags_are_refused(box: Boxes) -> None:
    domain = box.link.defineXML(container("shut", box.rootfs))
    with pytest.raises(libvirt.libvirtError) as refused:
        libvirt_lxc.lxcOpenNamespace(domain, 0)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    domain.create()
    with pytest.raises(libvirt.libvirtError) as refused:
        libvirt_lxc.lxcOpenNamespace(domain, 4)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG


def test_many_containers_run_at_the_same_time(box: Boxes) -> None:
    domains = [box.link.defineXML(container(f"one-of-{n}", box.rootfs)) for n in range(8)]
    for domain in domains:
        domain.create()
    assert len(box.link.listDomainsID()) == 8
    assert len(box.link.getAllDomainStats(CPU)) == 8
    for domain in domains:
        domain.destroy()
    assert box.link.listDomainsID() == []


def test_a_native_lxc_configuration_is_converted_to_a_container_that_runs(
    box: Boxes, tmp_path: Path
) -> None:
    native = tmp_path / "config"
    native.write_text(
        f"lxc.uts.name = native\nlxc.rootfs.path = dir:{box.rootfs}\n"
        "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n"
        "lxc.net.0.type = empty\nlxc.cgroup.memory.limit_in_bytes = 64M\n"
    )
    document = tmp_path / "native.xml"
    document.write_text(box.virsh("domxml-from-native", "lxc-tools", str(native)))
    box.virsh("define", str(document))
    box.virsh("start", "native")
    domain = box.link.lookupByName("native")
    assert domain.memoryParameters()["hard_limit"] == 64 << 10
    assert "1: lo:" in box.inside("native", "/bin/ip", "-o", "link")
    with pytest.raises(libvirt.libvirtError, match="lxc-tools") as refused:
        box.link.domainXMLFromNative("qemu-argv", "qemu", 0)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    domain.destroy()
    domain.undefine()
