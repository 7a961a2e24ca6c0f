"""The life of a container: start, suspend, shutdown, reboot, and each kill -9."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container, lxc_uri
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

RUNNING, PAUSED, OFF = (
    libvirt.VIR_DOMAIN_RUNNING,
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF,
)


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        yield held


@pytest.fixture(autouse=True)
def nothing_is_left(box: Boxes) -> Iterator[None]:
    yield
    if not box.link.isAlive():
        box.link = libvirt.open(lxc_uri(box.daemon))
    box.end_all()
    assert list((box.daemon.root / "run/libvirt/lxc").glob("*.d")) == []
    assert str(box.daemon.root) not in Path("/proc/self/mounts").read_text()


def started(box: Boxes, name: str, **words: Any) -> Any:
    domain = box.link.defineXML(container(name, box.rootfs, **words))
    domain.create()
    return domain


def refusal(call: Callable[[], object]) -> str:
    """How a call is refused; "": it is not."""
    try:
        call()
    except libvirt.libvirtError as refused:
        return str(refused)
    return ""


ANSWERING = """#!/bin/sh
trap 'exit 0' TERM
echo one >&3
cat <&4 >&5
[ -e /proc/self/fd/6 ] || echo no more >&5
exec 3>&- 4<&- 5>&-
while :; do sleep 1000 & wait $!; done
"""


def test_init_inherits_the_files_that_a_client_passes(box: Boxes) -> None:
    init = box.rootfs / "sbin/answering"
    init.write_text(ANSWERING)
    init.chmod(0o755)
    document = container("files", box.rootfs, init="/sbin/answering")
    connection = box.link
    for persistent in (True, False):
        (one, said), (asks, ask), (answers, answer) = os.pipe(), os.pipe(), os.pipe()
        os.write(ask, b"two\n")
        os.close(ask)
        files = [said, asks, answer]
        if persistent:
            domain = connection.defineXML(document)
            domain.createWithFiles(files, 0)
        else:
            domain = connection.createXMLWithFiles(document, files, 0)
        for fd in files:
            os.close(fd)
        with os.fdopen(one) as first, os.fdopen(answers) as second:
            assert first.readline() == "one\n"
            assert [second.readline() for _ in range(2)] == ["two\n", "no more\n"]
        domain.destroy()
        if persistent:
            domain.undefine()


def init_of(box: Boxes, name: str) -> int:
    """The host's number of a container's init."""
    path = box.daemon.root / f"run/libvirt/lxc/{name}.pid"
    monitor = int(path.read_text())
    return int(Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()[0])


def test_a_container_starts_is_suspended_resumed_and_destroyed(box: Boxes) -> None:
    watch = Watch(box.link)
    domain = started(box, "life")
    assert domain.state()[0] == RUNNING
    before = init_of(box, "life")
    domain.suspend()
    assert domain.state() == [PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    frozen = Path(f"/proc/{before}/stat").read_text()
    domain.resume()
    assert domain.state()[0] == RUNNING
    assert frozen
    assert domain.info()[4] > 0  # ns of processor time
    domain.destroy()
    assert domain.state() == [OFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED]
    wait_until("init has gone", lambda: not Path(f"/proc/{before}").exists())
    assert groups("life") == []
    for event, detail in (
        (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
        (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),
    ):
        watch.expect("life", event, detail)
    watch.close()


def test_a_shutdown_is_a_signal_to_init_without_an_initctl_fifo(box: Boxes) -> None:
    domain = started(box, "down")
    with pytest.raises(libvirt.libvirtError, match="initctl") as refused:
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_INITCTL)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    domain.shutdown()
    wait_until("it is off", lambda: not domain.isActive())
    assert domain.state() == [OFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]


def test_a_shutdown_is_written_to_init_s_initctl_fifo(box: Boxes) -> None:
    init = box.rootfs / "sbin/piped"
    init.write_text(
        "#!/bin/sh\nmknod /dev/initctl p\nexec 3<>/dev/initctl\nread -n 12 order <&3\nexit 0\n"
    )
    init.chmod(0o755)
    domain = started(box, "piped", init="/sbin/piped")
    wait_until("the pipe is there", lambda: "initctl" in box.inside("piped", "/bin/ls", "/dev"))
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_INITCTL)
    wait_until("it is off", lambda: not domain.isActive())


def test_a_reboot_starts_another_init_of_the_same_domain(box: Boxes) -> None:
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    domain = started(box, "again", init="/sbin/rebooting")
    first, number = init_of(box, "again"), domain.ID()
    domain.reboot()
    watch.wait_for("again")
    assert init_of(box, "again") != first
    assert domain.state()[0] == RUNNING
    assert box.link.lookupByName("again").ID() != number  # its monitor's, as stock's controller's
    watch.close()


def test_on_reboot_destroy_stops_a_container_that_reboots(box: Boxes) -> None:
    xml = container("once", box.rootfs, init="/sbin/rebooting").replace(
        "<devices>", "<on_reboot>destroy</on_reboot><devices>"
    )
    domain = box.link.defineXML(xml)
    domain.create()
    domain.reboot()
    wait_until("it is off", lambda: not domain.isActive())


def test_on_poweroff_restart_starts_the_container_again(box: Boxes) -> None:
    power = "<on_poweroff>restart</on_poweroff>"
    xml = container("anew", box.rootfs).replace("<devices>", f"{power}<devices>")
    domain = box.link.defineXML(xml)
    domain.create()
    first = domain.ID()
    domain.shutdown()

    def runs_anew() -> bool:
        found = box.link.lookupByName("anew")
        return bool(found.isActive()) and found.ID() != first

    wait_until("it runs anew", runs_anew)


def test_a_container_started_paused_runs_when_it_is_resumed(box: Boxes) -> None:
    domain = box.link.defineXML(container("still", box.rootfs))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert domain.state() == [PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    domain.resume()
    assert domain.state()[0] == RUNNING
    domain.suspend()
    domain.destroy()  # while it stands still


def test_the_worker_is_replaced_after_a_start(box: Boxes) -> None:
    link = box.link
    watch = Watch(link)
    domain = link.defineXML(container("renewed", box.rootfs))
    domain.create()
    (worker,) = (row for row in box.daemon.status() if row["name"] == "lxc:renewed")
    assert (worker["state"], worker["restarts"]) == ("running", 0)
    assert "lxc:renewed stops: it is replaced" in box.daemon.log.read_text()
    domain.suspend()
    domain.resume()
    domain.destroy()
    watch.wait_for("renewed", libvirt.VIR_DOMAIN_EVENT_STARTED, 0)
    watch.wait_for("renewed", libvirt.VIR_DOMAIN_EVENT_STOPPED, 1)
    watch.close()


def test_a_container_can_be_destroyed_at_any_moment_of_its_start(box: Boxes) -> None:
    domain = box.link.defineXML(container("given-up", box.rootfs))
    other = libvirt.open(lxc_uri(box.daemon)).lookupByName("given-up")
    known = ("", "was destroyed while it was started")
    moment = threading.Event()
    for number in range(24):  # the whole of a start, which takes some 70 ms
        said: list[str] = []
        starting = threading.Thread(target=lambda said=said: said.append(refusal(domain.create)))
        starting.start()
        moment.wait(number * 0.004)
        told = refusal(other.destroy)
        starting.join(30)
        assert any(word in said[0] for word in known if word or not said[0]), said
        assert told == "" or "not running" in told, told
        if domain.isActive():  # it was to be ended before it had begun
            domain.destroy()
        assert groups("given-up") == []
        assert not domain.isActive()


def test_a_container_whose_init_exits_at_once_was_started_and_stopped(box: Boxes) -> None:
    init = box.rootfs / "sbin/brief"
    init.write_text("#!/bin/sh\nexec sleep 0.0$1\n")
    init.chmod(0o755)
    watch = Watch(box.link)
    for number in range(1, 10, 2):  # hundredths of a second: some end while their worker changes
        name = f"brief{number}"
        xml = container(name, box.rootfs, init="/sbin/brief")
        domain = box.link.defineXML(xml.replace("</os>", f"<initarg>{number}</initarg></os>"))
        refused = refusal(domain.create)
        if refused:  # it had ended before anybody could look
            assert "init exited at once" in refused
            continue
        watch.wait_for(name, libvirt.VIR_DOMAIN_EVENT_STARTED, 0)
        watch.wait_for(name, libvirt.VIR_DOMAIN_EVENT_STOPPED, 0)
        assert domain.state() == [OFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    wait_until("their groups are gone", lambda: groups("brief*") == [])
    watch.close()


def test_autodestroy_stops_the_container_when_its_client_disconnects(box: Boxes) -> None:
    other = libvirt.open(lxc_uri(box.daemon))
    mine = other.createXML(container("mine", box.rootfs), libvirt.VIR_DOMAIN_START_AUTODESTROY)
    assert mine.isActive()
    del mine
    other.close()
    wait_until("it has gone", lambda: box.link.listAllDomains() == [])


@pytest.mark.parametrize("victim", ["lxc:kept", "lxcd", "netd", "rpcd", "root"])
def test_a_container_runs_on_when_a_process_of_ours_is_killed(box: Boxes, victim: str) -> None:
    domain = started(box, "kept")
    init = init_of(box, "kept")
    if victim == "root":
        box.daemon.kill()
        box.daemon.start()
    else:
        row = next(row for row in box.daemon.status() if row["name"] == victim)
        os.kill(int(row["pid"]), signal.SIGKILL)
    if victim in ("root", "rpcd"):
        box.link = libvirt.open(lxc_uri(box.daemon))
        domain = box.link.lookupByName("kept")
    wait_until("it has a worker", lambda: box.worker("kept") not in (0,))
    wait_until("its state is known", lambda: domain.state()[0] == RUNNING)
    assert init_of(box, "kept") == init
    domain.suspend()
    domain.resume()
    assert box.inside("kept", "/bin/echo", "here").strip() == "here"
    domain.shutdown()  # its end is seen by whoever watches it now
    wait_until("it is off", lambda: not domain.isActive())
    assert groups("kept") == []


def test_a_stop_while_no_worker_runs_is_detected_at_the_reconnect(box: Boxes) -> None:
    domain = started(box, "alone")
    init = init_of(box, "alone")
    box.daemon.kill()
    os.kill(init, signal.SIGKILL)
    wait_until("it has gone", lambda: not Path(f"/proc/{init}").exists())
    box.daemon.start()
    box.link = libvirt.open(lxc_uri(box.daemon))
    domain = box.link.lookupByName("alone")
    wait_until("it is off", lambda: not domain.isActive())
    assert groups("alone") == []


def test_hook_scripts_run_at_each_step(box: Boxes) -> None:
    folder = box.daemon.root / "etc/libvirt/hooks"
    folder.mkdir(parents=True, exist_ok=True)
    heard, script = folder / "heard", folder / "lxc"
    script.write_text(f'#!/bin/sh\necho "$1 $2 $3" >> {heard}\n')
    script.chmod(0o755)
    try:
        domain = started(box, "hooked")
        domain.destroy()
        assert heard.read_text().splitlines() == [
            "hooked prepare begin",
            "hooked start begin",
            "hooked started begin",
            "hooked stopped end",
            "hooked release end",
        ]
    finally:
        script.unlink()
        shutil.rmtree(folder)
