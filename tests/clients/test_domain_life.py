"""A guest's life as stock virsh and the stock binding see it."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pexpect
import pytest

from tests.clients.daemon import VIRSH, Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import Watch, wait_until
from tests.clients.guest import READY, Guest
from tests.clients.libvirt_binding import libvirt


def write(folder: Path, xml: str) -> str:
    path = folder / "domain.xml"
    path.write_text(xml)
    return str(path)


def test_virsh_takes_a_guest_from_definition_to_nothing(daemon: Daemon, tmp_path: Path) -> None:
    assert "defined" in daemon.ok("define", write(tmp_path, idle("life")))
    assert daemon.ok("domstate", "life").strip() == "shut off"
    daemon.ok("start", "life")
    assert daemon.ok("domstate", "life", "--reason").strip() == "running (booted)"
    identifier = daemon.ok("domid", "life").strip()
    listed = daemon.ok("list").split()
    assert [identifier, "life", "running"] == listed[-3:]
    daemon.ok("suspend", "life")
    assert daemon.ok("domstate", "life", "--reason").strip() == "paused (user)"
    daemon.ok("resume", "life")
    assert daemon.ok("domstate", "life", "--reason").strip() == "running (unpaused)"
    daemon.ok("reset", "life")
    daemon.ok("destroy", "life")
    assert daemon.ok("domstate", "life", "--reason").strip() == "shut off (destroyed)"
    daemon.ok("undefine", "life")
    assert "life" not in daemon.ok("list", "--all")
    assert not list(daemon.emulators())


def test_every_lifecycle_step_is_an_event_in_order(link: Any) -> None:
    watch = Watch(link)
    domain = link.defineXML(idle("steps"))
    domain.create()
    domain.suspend()
    domain.resume()
    domain.destroy()
    domain.undefine()
    for event, detail in [
        (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED),
        (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),
        (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED),
    ]:
        watch.expect("steps", event, detail)
    watch.close()


def test_virsh_event_sees_every_step(daemon: Daemon, tmp_path: Path) -> None:
    watching = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "event", "--all", "--loop"], timeout=30, encoding="utf-8"
    )
    # virsh prints nothing until the first event: wait until the daemon knows of its callbacks.
    known = "<uuid>c7a5fdbd-edaf-9455-926a-d65c16db1810</uuid><name>"
    domain = write(tmp_path, idle("watched").replace("<name>", known))

    def seen() -> bool:
        daemon.ok("define", domain)
        try:
            watching.expect("event 'lifecycle' for domain '?watched'?: Defined", timeout=0.3)
        except pexpect.TIMEOUT:
            return False
        return True

    wait_until("virsh event shows a definition", seen)
    daemon.ok("start", "watched")
    watching.expect("'?watched'?: Started Booted")
    daemon.ok("suspend", "watched")
    watching.expect("'?watched'?: Suspended Paused")
    daemon.ok("destroy", "watched")
    watching.expect("'?watched'?: Stopped Destroyed")
    daemon.ok("undefine", "watched")
    watching.expect("'?watched'?: Undefined Removed")
    watching.close(force=True)


def test_a_transient_guest_is_gone_when_it_ends(link: Any) -> None:
    domain = link.createXML(idle("transient"), 0)
    assert (domain.isActive(), domain.isPersistent()) == (1, 0)
    domain.destroy()
    with pytest.raises(libvirt.libvirtError) as gone:
        link.lookupByName("transient")
    assert gone.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def test_a_guest_created_paused_waits(link: Any) -> None:
    domain = link.createXML(idle("waiting"), libvirt.VIR_DOMAIN_START_PAUSED)
    assert domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    domain.resume()
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING


def test_an_autodestroy_guest_ends_with_its_connection(daemon: Daemon, link: Any) -> None:
    other = libvirt.open(daemon.uri)
    other.createXML(idle("fleeting"), libvirt.VIR_DOMAIN_START_AUTODESTROY)
    assert [d.name() for d in link.listAllDomains()] == ["fleeting"]
    other.close()
    wait_until("the guest is gone", lambda: not link.listAllDomains())


def test_the_live_xml_shows_what_the_guest_was_given(link: Any) -> None:
    domain = link.createXML(idle("live", devices="<graphics type='vnc' autoport='yes'/>"), 0)
    tree = ElementTree.fromstring(domain.XMLDesc(0))
    assert tree.get("id") == str(domain.ID())
    serial = tree.find("devices/serial/source")
    assert serial is not None
    assert Path(str(serial.get("path"))).is_char_device()
    graphics = tree.find("devices/graphics")
    assert graphics is not None
    assert int(str(graphics.get("port"))) >= 5900
    alias = tree.find("devices/serial/alias")
    assert alias is not None
    assert alias.get("name") == "serial0"
    inactive = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    assert inactive.get("id") is None
    assert inactive.find("devices/serial/alias") is None


def test_a_second_definition_of_the_name_is_refused(link: Any) -> None:
    link.defineXML(idle("twice"))
    other = idle("twice").replace(
        "<name>", "<uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><name>"
    )
    with pytest.raises(libvirt.libvirtError, match="already exists with uuid") as refused:
        link.defineXML(other)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED


def test_title_description_and_metadata_are_kept(link: Any) -> None:
    domain = link.defineXML(idle("described"))
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "A title", None, None, 0)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, "Words", None, None, 0)
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<a b='c'/>", "mine", "http://example.org/1", 0
    )
    again = link.lookupByName("described")
    assert again.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None) == "A title"
    assert again.metadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None) == "Words"
    element = again.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "http://example.org/1")
    assert ElementTree.fromstring(element).get("b") == "c"


def test_a_renamed_domain_keeps_its_uuid(link: Any) -> None:
    domain = link.defineXML(idle("before"))
    uuid = domain.UUIDString()
    domain.rename("after")
    assert link.lookupByName("after").UUIDString() == uuid
    assert [d.name() for d in link.listAllDomains()] == ["after"]


def test_filters_choose_what_they_say(link: Any) -> None:
    link.defineXML(idle("off"))
    link.defineXML(idle("on")).create()
    link.createXML(idle("passing"), 0)
    link.lookupByName("off").setAutostart(1)

    def names(flags: int) -> list[str]:
        return sorted(domain.name() for domain in link.listAllDomains(flags))

    assert names(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE) == ["on", "passing"]
    assert names(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE) == ["off"]
    assert names(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT) == ["passing"]
    assert names(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART) == ["off"]
    assert names(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING) == ["on", "passing"]
    assert link.numOfDomains() == 2
    assert link.listDefinedDomains() == ["off"]


def test_a_device_that_cannot_be_had_is_named_at_start(link: Any) -> None:
    interface = (
        "<interface type='hostdev' managed='yes'><source><address type='pci' domain='0' bus='0x7f' "
        "slot='0x1f' function='7'/></source></interface>"
    )
    domain = link.defineXML(idle("networked", devices=interface))
    with pytest.raises(libvirt.libvirtError, match="interface") as refused:
        domain.create()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert not domain.isActive()


def test_a_guest_boots_talks_on_its_console_and_shuts_down_by_acpi(
    daemon: Daemon, link: Any, tiny: Guest
) -> None:
    watch = Watch(link)
    domain = link.defineXML(booting("tiny", tiny))
    console = pexpect.spawn(
        VIRSH, ["-c", daemon.uri, "start", "tiny", "--console"], timeout=90, encoding="utf-8"
    )
    console.expect(READY)
    console.expect("login: ")
    console.sendline("root")
    console.expect("# ")
    console.sendline("echo one-$((40 + 2))-two")
    console.expect("one-42-two")
    with pytest.raises(libvirt.libvirtError, match="Active console session exists"):
        domain.openConsole(None, link.newStream(), 0)
    assert domain.shutdown() == 0
    console.expect("Power down")
    console.expect(pexpect.EOF)
    console.close()
    event = libvirt.VIR_DOMAIN_EVENT_STOPPED
    watch.wait_for("tiny", event, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    watch.close()


def test_a_monitor_command_reaches_qemu(daemon: Daemon, link: Any) -> None:
    link.createXML(idle("asked"), 0)
    answer = daemon.ok("qemu-monitor-command", "asked", '{"execute":"query-status"}')
    assert '"running":true' in answer.replace(" ", "")
    assert "VM status: running" in daemon.ok(
        "qemu-monitor-command", "asked", "--hmp", "info status"
    )


def test_a_screenshot_is_an_image(daemon: Daemon, link: Any, tmp_path: Path) -> None:
    graphics = "<graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>"
    link.createXML(idle("seen", devices=graphics), 0)
    image = tmp_path / "screen"
    daemon.ok("screenshot", "seen", str(image))
    assert image.read_bytes()[:2] in (b"P6", b"\x89P")


def test_keys_and_interrupts_are_sent(daemon: Daemon, link: Any) -> None:
    link.createXML(idle("typed"), 0)
    daemon.ok("send-key", "typed", "KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_DELETE")
    daemon.ok("inject-nmi", "typed")


def test_fifty_guests_start_at_once_and_end(daemon: Daemon, link: Any) -> None:
    domains = [link.defineXML(idle(f"crowd-{number:02d}")) for number in range(50)]
    failures: list[str] = []

    def start(domain: Any) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=start, args=(domain,)) for domain in domains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert link.numOfDomains() == 50
    assert len({domain.ID() for domain in domains}) == 50
    assert len(link.getAllDomainStats()) == 50
    for domain in domains:
        domain.destroy()
    assert link.numOfDomains() == 0
    assert not list(daemon.emulators())


def test_a_read_only_virsh_is_refused_every_change(
    daemon: Daemon, link: Any, tmp_path: Path
) -> None:
    link.defineXML(idle("guarded")).create()
    link.defineXML(idle("asleep"))
    xml = write(tmp_path, idle("guarded2"))
    changes = [
        ("define", xml), ("create", xml), ("start", "asleep"), ("destroy", "guarded"),
        ("shutdown", "guarded"), ("reboot", "guarded"), ("reset", "guarded"),
        ("suspend", "guarded"), ("resume", "guarded"), ("undefine", "asleep"),
        ("autostart", "guarded"), ("desc", "guarded", "words"), ("domrename", "asleep", "other"),
        ("inject-nmi", "guarded"), ("send-key", "guarded", "KEY_A"),
        ("qemu-monitor-command", "guarded", "--hmp", "info status"),
        ("dumpxml", "guarded", "--security-info"),
    ]  # fmt: skip
    for words in changes:
        done = daemon.virsh("-r", *words, uri=daemon.read_only_uri)
        assert done.returncode != 0, words
        assert "operation forbidden" in done.stderr, (words, done.stderr)
    assert "running" in daemon.virsh("-r", "list", uri=daemon.read_only_uri).stdout
    assert {domain.name() for domain in link.listAllDomains()} == {"guarded", "asleep"}


def test_host_questions_are_answered(daemon: Daemon) -> None:
    for words in (
        ("version",), ("hostname",), ("uri",), ("nodeinfo",), ("capabilities",), ("nodememstats",),
        ("domcapabilities",), ("nodecpustats",), ("freecell", "--all"), ("maxvcpus",),
        ("nodecpumap",), ("cpu-models", "x86_64"),
    ):  # fmt: skip
        assert daemon.ok(*words).strip(), words


def test_a_qemu_process_that_is_killed_is_reported_as_crashed(daemon: Daemon, link: Any) -> None:
    watch = Watch(link)
    domain = link.defineXML(idle("victim"))
    domain.create()
    (pid,) = daemon.emulators()
    subprocess.run(["/bin/kill", "-9", str(pid)], check=True)
    event, detail = libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED
    watch.wait_for("victim", event, detail)
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
    watch.close()
