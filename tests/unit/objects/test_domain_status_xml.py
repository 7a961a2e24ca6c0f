"""The status file of a running domain: one codec for the worker that writes it and its readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc.enums import DomainState
from supervisor.objects.domain_status_xml import (
    Owner,
    Status,
    StatusError,
    find_status,
    read_all_status,
    read_status,
    write_status,
)

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


def test_no_file_is_no_status(tmp_path: Path) -> None:
    assert read_status(tmp_path / "none.xml") is None
    assert find_status(tmp_path / "none.xml") is None


@pytest.mark.parametrize("text", ["", "<domstatus", "<domstatus><domain ></domain></domstatus>"])
def test_a_file_of_another_writer_is_refused_and_removed_by_a_worker(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(StatusError):
        read_status(path)
    assert find_status(path) is None
    assert not path.exists()


def test_unreadable_files_hide_no_other_status(tmp_path: Path) -> None:
    write_status(tmp_path / "b.xml", STATUS, LIVE)
    (tmp_path / "a.xml").write_text("<domstatus")
    assert read_all_status(tmp_path) == [(STATUS, LIVE)]
    assert (tmp_path / "a.xml").exists()
