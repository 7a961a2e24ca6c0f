"""The output of virtvisorctl."""

from __future__ import annotations

import os

import pytest

from supervisor.ctl.virtvisorctl import format_table, format_uptime
from supervisor.messages.root import ProcessState, ProcessStatus


def status(name: str, pid: int, **more: int) -> ProcessStatus:
    return ProcessStatus(
        name=name,
        pid=pid,
        state=ProcessState.RUNNING,
        restarts=0,
        uptime_s=3.0,
        private_kib=2048,
        **more,
    )


def test_a_guest_is_listed_below_its_worker() -> None:
    rows = [status("root", 1), status("qemu:demo", 2, guest_pid=os.getpid()), status("domd", 0)]
    lines = format_table(rows).splitlines()
    assert lines[1].startswith("root")
    assert lines[2].startswith("  qemu:demo")
    assert lines[3].startswith("    guest demo")
    assert str(os.getpid()) in lines[3]
    assert lines[4].split()[:2] == ["domd", "-"]
    assert lines[2].endswith("2.0 MiB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (61, "1m1s"), (3600 * 5 + 60 * 7, "5h7m"), (86400 * 2 + 3600, "2d1h")],
)
def test_an_uptime_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_uptime(seconds) == text
