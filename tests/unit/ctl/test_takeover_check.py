"""What virtvisorctl says of a host before its daemon is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.storage import PoolType
from supervisor.ctl import takeover
from supervisor.ctl.takeover import POOL_TYPES, Finding, find_all, format_findings
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.host import boot_id
from supervisor.runtime.paths import Paths
from supervisor.runtime.procfs import start_time
from supervisor.stord.backends.table import BACKENDS
from tests.unit.objects.libvirt_statuses import UUID, process, status_file

NETWORK = """<networkstatus><network><name>lab</name>
<uuid>8b0f4f0e-3f0d-4bb5-8a79-3b1b6dd1f0c1</uuid><bridge name='virbr3'{zone}/>
<ip address='10.0.0.1' netmask='255.255.255.0'/></network></networkstatus>"""
POOL = """<poolstate><pool type='{type}'><name>p</name>
<uuid>8b0f4f0e-3f0d-4bb5-8a79-3b1b6dd1f0c2</uuid>{rest}</pool></poolstate>"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.system(tmp_path)
    for folder in ("qemu", "lxc", "network", "storage", "nwfilter-binding"):
        (paths.run / folder).mkdir(parents=True)
    for folder in ("qemu/networks", "storage", "nwfilter"):
        (paths.etc / folder).mkdir(parents=True)
    return paths


@pytest.fixture
def guest() -> Iterator[int]:
    """The number of a process that is a guest of that UUID."""
    with process("/usr/bin/qemu-system-x86_64", UUID) as pid:
        yield pid


def one(paths: Paths) -> Finding:
    (finding,) = find_all(paths)
    return finding


def test_a_host_on_which_nothing_runs(paths: Paths) -> None:
    assert format_findings(find_all(paths)) == "nothing runs here\n"


def test_a_running_guest_of_libvirts_daemon_comes_along(
    paths: Paths, guest: int, tmp_path: Path
) -> None:
    monitor = tmp_path / "monitor.sock"
    file = paths.status("web")
    file.write_text(status_file(pid=guest, monitor=str(monitor)))
    assert one(paths).obstacle == f"its monitor's socket {monitor} does not exist"
    monitor.touch()
    found = one(paths)
    assert (found.kind, found.name, found.obstacle) == ("guest", "web", "")
    assert format_findings([found]) == "guest  web  comes along\n"


def test_a_guest_that_apparmor_confines_comes_along_with_a_note(
    paths: Paths, guest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "guest_profile", lambda pid: f"libvirt-{UUID}")
    monitor = tmp_path / "monitor.sock"
    monitor.touch()
    paths.status("web").write_text(status_file(pid=guest, monitor=str(monitor)))
    assert format_findings(find_all(paths)) == (
        f"guest  web  comes along (AppArmor's profile libvirt-{UUID} stays as it is: what is "
        "plugged later is denied)\n"
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [("<job async='backup'/>", "its job 'backup' is under way"), ("<oops>", "cannot be read")],
)
def test_a_guest_that_cannot_be_taken_over_is_named_with_the_reason(
    paths: Paths, guest: int, more: str, reason: str
) -> None:
    paths.status("web").write_text(status_file(pid=guest, more=more))
    text = format_findings(find_all(paths))
    assert text.startswith("guest  web  DOES NOT COME ALONG: ")
    assert reason in text


@pytest.mark.parametrize(
    ("group", "advice"),
    [
        ("machine.slice/machine-x.scope/libvirt", "restart this daemon before"),
        ("virtvisor.slice/qemu-1-web.libvirt-qemu", "save it before"),
    ],
)
def test_a_guest_of_ours_that_machined_does_not_know_does_not_come_along(
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    guest: int,
    tmp_path: Path,
    group: str,
    advice: str,
) -> None:
    monkeypatch.setattr(takeover, "unknown_guests", lambda pids: frozenset(pids))
    monitor = tmp_path / "monitor.sock"
    monitor.touch()
    start = start_time(guest)
    assert start is not None
    status = Status(
        name="web", uuid=UUID, id=1, state=1, reason=1, pid=guest, start=start, boot=boot_id(),
        monitor=str(monitor), libvirt_flags="kvm", cgroup=group,
    )  # fmt: skip
    write_status(paths.status("web"), status, "<domain type='qemu'/>\n")
    obstacle = one(paths).obstacle
    assert obstacle.startswith("systemd-machined does not know it, and libvirt would end it: ")
    assert advice in obstacle


def test_a_guest_that_has_ended_is_no_obstacle(paths: Paths) -> None:
    paths.status("web").write_text(status_file(pid=1))
    assert "comes along (it has ended, and is cleaned up)" in format_findings([one(paths)])


def test_a_guest_of_ours_goes_to_libvirts_daemon_between_its_jobs(
    paths: Paths, guest: int, tmp_path: Path
) -> None:
    monitor = tmp_path / "monitor.sock"
    monitor.touch()
    status = Status(
        name="web",
        uuid=UUID,
        id=1,
        state=1,
        reason=1,
        pid=guest,
        start=start_time(guest) or 0,
        boot=boot_id(),
        monitor=str(monitor),
        libvirt_flags="tcg",
    )
    xml = "<domain type='kvm' id='1'>\n</domain>\n"
    write_status(paths.status("web"), status, xml)
    assert one(paths).obstacle == ""
    status.resume_after_job = "snapshot"
    write_status(paths.status("web"), status, xml)
    assert "a job of it under way" in one(paths).obstacle


def test_containers_stay_with_their_daemon(paths: Paths) -> None:
    text = status_file().replace("<domain type='kvm'", "<domain type='lxc'")
    (paths.run / "lxc/box.xml").write_text(text)
    found = one(paths)
    assert found.kind == "container"
    assert "libvirt_lxc" in found.obstacle


@pytest.mark.parametrize(("zone", "obstacle"), [("", ""), (" zone='home'", "firewalld")])
def test_networks(paths: Paths, zone: str, obstacle: str) -> None:
    (paths.network_status_dir() / "lab.xml").write_text(NETWORK.format(zone=zone))
    found = one(paths)
    assert (found.kind, found.name) == ("network", "lab")
    assert obstacle in found.obstacle
    assert bool(found.obstacle) == bool(obstacle)


def test_pools(paths: Paths) -> None:
    file = paths.storage_status_dir() / "p.xml"
    file.write_text(POOL.format(type="dir", rest="<target><path>/p</path></target>"))
    assert one(paths).obstacle == ""
    file.write_text(POOL.format(type="gluster", rest=GLUSTER))
    assert "type 'gluster' are not started" in one(paths).obstacle
    file.write_text("<pool/>")
    assert "cannot be read" in one(paths).obstacle


GLUSTER = "<source><host name='h'/><dir path='/'/><name>v</name></source>"


def test_a_definition_that_is_not_read_is_named(paths: Paths) -> None:
    paths.domain_config("old").write_text("<domain type='kvm'><name>old</name>")
    found = one(paths)
    assert (found.kind, found.name) == ("domain", "old")
    assert "is not read" in found.obstacle


def test_the_types_of_pools_are_those_that_are_started() -> None:
    assert frozenset(BACKENDS) == POOL_TYPES
    assert frozenset(PoolType) > POOL_TYPES
