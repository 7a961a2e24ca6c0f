"""The status file of a running domain: one codec for the worker that writes it and its readers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rpc.enums import DomainState
from supervisor.objects.domain_status_xml import (
    LoadedMemory,
    Owner,
    Status,
    StatusError,
    StatusWriter,
    find_status,
    read_all_status,
    read_status,
    write_status,
)
from supervisor.objects.libvirt_status import parse_libvirt_status
from supervisor.objects.state_names import parse_state
from supervisor.runtime.pidfd import ProcessIdentity
from tests.unit.objects.libvirt_statuses import UUID as FOREIGN
from tests.unit.objects.libvirt_statuses import process, status_file

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
LIVE = "<domain type='kvm' id='7'>\n  <name>a &amp; b</name>\n</domain>"
STATUS = Status(
    name="a & b",
    uuid=UUID,
    id=7,
    state=DomainState.PAUSED,
    reason=1,
    pid=42,
    monitor="/run/'m'",
    owners=[Owner("/images/<x>", 0, 0)],
)


def test_a_status_survives_the_file_with_its_live_xml(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_status(path, STATUS, LIVE)
    assert read_status(path) == (STATUS, LIVE)
    assert "<domstatus state='paused' reason='1' pid='42'>" in path.read_text()


def test_a_file_that_is_written_again_has_all_that_has_changed(tmp_path: Path) -> None:
    again, once = tmp_path / "again.xml", tmp_path / "once.xml"
    writer = StatusWriter(again)
    live = parse_libvirt_status(status_file()).live_xml
    taken = movable()  # changed in place, as a guest's own status is
    for change in (
        {},
        {"state": DomainState.RUNNING},
        {"taints": ["custom-argv"]},
        {"fake_reboot": True},
        {"restart": True},
        {"restart": False},
    ):
        for name, value in change.items():
            setattr(taken, name, value)
        for xml in (live, LIVE, live.replace("index='", "index='7")):
            writer.write(taken, xml)
            write_status(once, taken, xml)
            assert again.read_text() == once.read_text()
            assert read_status(again) == (taken, xml)


def movable(**changes: Any) -> Status:
    """The status of a guest that libvirt's daemon can take over."""
    return msgspec.structs.replace(STATUS, libvirt_flags="tcg set-action", **changes)


def test_libvirts_daemon_can_read_the_file_of_a_guest(tmp_path: Path) -> None:
    path = tmp_path / "web.xml"
    live = parse_libvirt_status(status_file()).live_xml
    write_status(path, movable(taints=["custom-monitor"], agent_timeout=7), live)
    text = path.read_text()
    start, end = text.index("  <virtvisor>"), text.index("<domain ")
    found = parse_libvirt_status(text[:start] + text[end:])
    assert (found.state, found.reason, found.pid) == (DomainState.PAUSED, 1, 42)
    assert (found.monitor, found.flags) == ("/run/'m'", "tcg set-action")
    assert (found.taints, found.agent_timeout) == (("custom-monitor",), 7)
    assert found.live_xml == live
    assert read_status(path) == (movable(taints=["custom-monitor"], agent_timeout=7), live)


@pytest.mark.parametrize(
    "changes",
    [{"pid": 0}, {"ending": 1}, {"restart": True}, {"loaded": LoadedMemory(image="", run=True)}],
)
def test_libvirts_daemon_leaves_a_guest_alone_that_it_could_only_end(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "web.xml"
    status = movable(**changes)
    write_status(path, status, LIVE)
    state, reason, *_ = path.read_text().partition("<domstatus ")[2].split()
    with pytest.raises(ValueError, match="not in tuple"):
        parse_state(state.split("'")[1], reason.split("'")[1])
    assert read_status(path) == (status, LIVE)


def test_a_guest_of_libvirts_daemon_is_found_by_its_process(tmp_path: Path) -> None:
    path = tmp_path / "web.xml"
    with process("/usr/bin/qemu-system-x86_64", FOREIGN) as guest:
        path.write_text(status_file(pid=guest))
        stored = read_status(path)
        assert stored is not None
        status, _ = stored
        assert status.foreign
        assert ProcessIdentity(status.pid, status.start, status.boot).runs()
        path.write_text(status_file(pid=os.getpid()))  # another program has the number by now
        stored = read_status(path)
    assert stored is not None
    status, _ = stored
    assert not ProcessIdentity(status.pid, status.start, status.boot).runs()


def test_no_file_is_no_status(tmp_path: Path) -> None:
    assert read_status(tmp_path / "none.xml") is None
    assert find_status(tmp_path / "none.xml") is None


@pytest.mark.parametrize("text", ["", "<domstatus", "<domstatus><domain ></domain></domstatus>"])
def test_a_file_that_cannot_be_read_is_named_and_left_as_it_is(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(StatusError):
        read_status(path)
    assert find_status(path) is None
    assert path.read_text() == text
    assert str(path) in caplog.text
    assert "left as it is" in caplog.text


def test_unreadable_files_hide_no_other_status(tmp_path: Path) -> None:
    write_status(tmp_path / "b.xml", STATUS, LIVE)
    (tmp_path / "a.xml").write_text("<domstatus")
    assert read_all_status(tmp_path) == [(STATUS, LIVE)]
    assert (tmp_path / "a.xml").exists()
