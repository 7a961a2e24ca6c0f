"""/proc/PID/stat, whatever the process calls itself."""

from __future__ import annotations

import os
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from supervisor.runtime.procfs import (
    TICK_NS,
    cpu_times,
    is_stopped,
    parse_stat,
    read_stat,
    start_time,
)

FIELDS = f"S 7 1 1 0 -1 4194560 1 2 3 4 50 60 9 9 20 0 1 0 12345 {'1 ' * 15}17 3 0"


def test_the_fields_follow_the_last_parenthesis_of_the_name() -> None:
    stat = parse_stat(f"42 (a) R 1 (b) {FIELDS}\n")
    assert stat is not None
    assert (stat.state, stat.parent, stat.start_ticks, stat.processor) == ("S", 7, 12345, 3)
    assert (stat.cpu.user, stat.cpu.system) == (50 * TICK_NS, 60 * TICK_NS)
    assert stat.cpu.total == 110 * TICK_NS


@given(st.text(max_size=40))
def test_a_line_without_the_fields_is_no_process(text: str) -> None:
    assert parse_stat(f"1 (x) {text}"[:40]) is None


def test_this_process_is_read_and_one_that_has_exited_is_not() -> None:
    own = read_stat(os.getpid())
    assert own is not None
    assert own.parent == os.getppid()
    assert start_time(os.getpid()) == own.start_ticks
    thread = read_stat(os.getpid(), os.getpid())
    assert thread is not None
    assert thread.start_ticks == own.start_ticks
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(child.pid) is None  # a zombie has its line still
    assert read_stat(child.pid) is None
    assert cpu_times(child.pid).total == 0
    assert not is_stopped(child.pid)
