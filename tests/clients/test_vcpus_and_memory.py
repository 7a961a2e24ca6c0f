"""Processors, threads and memory of running guests, by stock clients and a real QEMU."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import EventLoop, Watch, wait_until
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt, libvirt_qemu

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
ROOM = (
    "<maxMemory slots='4' unit='MiB'>1024</maxMemory>"
    "<cpu><numa><cell id='0' cpus='0-3' memory='{}' unit='MiB'/></numa></cpu>"
)
MODULE = "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>"


def many(xml: str, current: int = 1) -> str:
    """The same guest with room for four vcpus."""
    return xml.replace("<vcpu>1</vcpu>", f"<vcpu current='{current}'>4</vcpu>")


def parsed(domain: Any, flags: int = 0) -> ElementTree.Element:
    return ElementTree.fromstring(domain.XMLDesc(flags))


def monitor(domain: Any, command: str) -> Any:
    reply = libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": command}), 0)
    return json.loads(reply)["return"]


def test_vcpus_and_iothreads_come_to_a_running_guest_and_are_pinned(link: Any) -> None:
    cpus = os.cpu_count() or 1
    domain = link.defineXML(many(idle("wide", top="<iothreads>1</iothreads>")))
    domain.create()
    tuned = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE)
    domain.setVcpusFlags(3, LIVE | CONFIG)
    assert domain.vcpusFlags(LIVE) == domain.vcpusFlags(CONFIG) == 3
    threads = {cpu["cpu-index"]: cpu["thread-id"] for cpu in monitor(domain, "query-cpus-fast")}
    assert sorted(threads) == [0, 1, 2]
    only = (True,) + (False,) * (cpus - 1)
    domain.pinVcpuFlags(2, only, LIVE)
    tuned.expect("wide", {"cputune.vcpupin2": "0"})
    assert os.sched_getaffinity(threads[2]) == {0}
    assert domain.vcpus()[1][2] == only
    domain.pinEmulator(only, LIVE)
    tuned.expect("wide", {"cputune.emulatorpin": "0"})
    domain.setVcpu("3", 1, LIVE)  # made by a pinned thread, but not pinned itself
    threads = {cpu["cpu-index"]: cpu["thread-id"] for cpu in monitor(domain, "query-cpus-fast")}
    assert len(os.sched_getaffinity(threads[3])) == len(os.sched_getaffinity(0))
    domain.addIOThread(4, LIVE)
    domain.pinIOThread(4, only, LIVE)
    tuned.expect("wide", {"cputune.iothreadpin4": "0"})
    domain.setIOThreadParams(4, {"poll_max_ns": 4096}, LIVE)
    polled = {each["id"]: each["poll-max-ns"] for each in monitor(domain, "query-iothreads")}
    assert polled["iothread4"] == 4096
    domain.delIOThread(4, LIVE)
    with pytest.raises(libvirt.libvirtError, match="cannot find IOThread '4'"):
        domain.delIOThread(4, LIVE)
    tuned.close()
    with pytest.raises(libvirt.libvirtError, match="greater than max allowable") as refused:
        domain.setVcpus(5)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG


def test_a_guest_gives_memory_back_and_releases_a_module(link: Any, tiny: Guest) -> None:
    domain = link.defineXML(many(booting("breathing", tiny, top=ROOM.format(192))))
    domain.create()
    stream = link.newStream(0)
    domain.openConsole(None, stream, 0)
    text = b""
    while READY.encode() not in text:
        text += stream.recv(4096)
    stream.abort()
    balloon = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE)
    removed = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
    domain.setMemoryFlags(150 << 10, LIVE)
    balloon.wait_for("breathing", 150 << 10)
    assert domain.info()[2] == 150 << 10
    domain.setMemoryStatsPeriod(1, LIVE)
    wait_until("the balloon's driver reports", lambda: "unused" in domain.memoryStats())
    domain.setMemoryFlags(192 << 10, LIVE)
    balloon.wait_for("breathing", 192 << 10)
    domain.attachDeviceFlags(MODULE, LIVE)
    assert parsed(domain).findtext("memory") == str(320 << 10)
    assert [module["data"]["id"] for module in monitor(domain, "query-memory-devices")] == ["dimm0"]
    domain.detachDeviceFlags(MODULE, LIVE)
    removed.expect("breathing", "dimm0")
    assert parsed(domain).findtext("memory") == str(192 << 10)
    for watch in (balloon, removed):
        watch.close()


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A daemon whose processes the test may kill."""
    EventLoop.start()
    with Daemon() as running:
        yield running


@pytest.mark.parametrize("victim", ["qemu:torn", "domd"])
def test_a_process_that_is_killed_over_a_hotplug_leaves_true_xml(own: Daemon, victim: str) -> None:
    link = libvirt.open(own.uri)
    domain = link.defineXML(many(idle("torn", top=ROOM.format(16))))
    domain.create()
    failures: list[Exception] = []

    def change() -> None:
        other = libvirt.open(own.uri).lookupByName("torn")
        for call, arguments in ((other.setVcpusFlags, (4, LIVE)), (other.attachDevice, (MODULE,))):
            try:
                call(*arguments)
            except libvirt.libvirtError as error:
                failures.append(error)

    changing = threading.Thread(target=change)
    changing.start()
    pid = next(int(row["pid"]) for row in own.status() if row["name"] == victim)
    os.kill(pid, signal.SIGKILL)
    changing.join(60)

    def is_true() -> bool:
        try:
            document = parsed(domain)
            enabled = document.findall("vcpus/vcpu[@enabled='yes']")
            return (
                len(enabled) == len(monitor(domain, "query-cpus-fast"))
                or (not enabled and len(monitor(domain, "query-cpus-fast")) == 1)
            ) and len(document.findall("devices/memory")) == len(
                monitor(domain, "query-memory-devices")
            )
        except libvirt.libvirtError:
            return False

    wait_until("the XML says what QEMU has", is_true)
    if domain.vcpusFlags(LIVE) < 4:
        domain.setVcpusFlags(4, LIVE)
    assert domain.vcpusFlags(LIVE) == 4
    assert len(failures) <= 2
    domain.destroy()
    link.close()
