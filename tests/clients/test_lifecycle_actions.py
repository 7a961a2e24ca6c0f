"""on_poweroff, on_reboot and on_crash, with a guest that does each of them."""

from __future__ import annotations

from typing import Any

from tests.clients.daemon import Daemon
from tests.clients.domains import booting
from tests.clients.event_watch import Watch
from tests.clients.guest import Guest
from tests.clients.libvirt_binding import libvirt

PANIC = "<panic model='isa'/>"
STARTED = libvirt.VIR_DOMAIN_EVENT_STARTED
STOPPED = libvirt.VIR_DOMAIN_EVENT_STOPPED
BOOTED = libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED


def run(link: Any, guest: Guest, then: str, policy: str) -> Any:
    """Start a guest that does something, with a policy for it."""
    domain = link.defineXML(booting("bound", guest, then=then, top=policy, devices=PANIC))
    domain.create()
    return domain


def test_poweroff_shuts_the_domain_off(link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "poweroff", "<on_poweroff>destroy</on_poweroff>")
    watch.wait_for("bound", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    watch.close()


def test_poweroff_with_restart_resets_the_machine(link: Any, tiny: Guest) -> None:
    reboots = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    domain = run(link, tiny, "poweroff", "<on_poweroff>restart</on_poweroff>")
    number = domain.ID()
    reboots.wait_for("bound")
    reboots.wait_for("bound")
    assert domain.isActive()
    assert domain.ID() == number
    reboots.close()


def test_reboot_keeps_the_domain_running(link: Any, tiny: Guest) -> None:
    reboots = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    domain = run(link, tiny, "reboot", "<on_reboot>restart</on_reboot>")
    reboots.wait_for("bound")
    reboots.wait_for("bound")
    assert domain.isActive()
    reboots.close()


def test_reboot_with_destroy_shuts_the_domain_off(link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "reboot", "<on_reboot>destroy</on_reboot>")
    watch.wait_for("bound", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert not domain.isActive()
    watch.close()


def test_a_crash_shuts_the_domain_off_with_reason_crashed(link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "panic", "<on_crash>destroy</on_crash>")
    watch.wait_for("bound", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
    watch.close()


def test_a_crash_with_preserve_keeps_qemu(link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "panic", "<on_crash>preserve</on_crash>")
    crashed = libvirt.VIR_DOMAIN_EVENT_CRASHED
    watch.wait_for("bound", crashed, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED)
    assert domain.state() == [libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED]
    domain.destroy()
    watch.close()


def test_a_crash_with_coredump_dumps_the_memory(daemon: Daemon, link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "panic", "<on_crash>coredump-destroy</on_crash>")
    watch.wait_for("bound", STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    (dump,) = (daemon.root / "var/lib/libvirt/qemu/dump").iterdir()
    assert dump.stat().st_size > 100 << 20
    assert dump.read_bytes()[:4] == b"\x7fELF"
    dump.unlink()
    assert not domain.isActive()
    watch.close()


def test_a_crash_with_restart_resets_the_machine(link: Any, tiny: Guest) -> None:
    watch = Watch(link)
    domain = run(link, tiny, "panic", "<on_crash>restart</on_crash>")
    number = domain.ID()
    for _ in range(2):  # it crashes again when it has booted again
        crashed = libvirt.VIR_DOMAIN_EVENT_CRASHED
        watch.wait_for("bound", crashed, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED)
    assert domain.isActive()
    assert domain.ID() == number
    watch.close()
