"""A console is a pty of the guest's own QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.workers.qemu.ptys import is_pty, master_indexes, open_pty, slave_index

HOLDER = "import os, sys; print(os.ttyname(os.openpty()[1]), flush=True); sys.stdin.read()"


@contextmanager
def another_process() -> Iterator[tuple[int, str]]:
    """A process that has a pty open: its pid and the pty's path."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()
        process.stdin.close()


def test_a_pty_of_the_process_is_opened() -> None:
    with another_process() as (pid, path):
        fd = open_pty(path, pid)
        assert os.ttyname(fd) == path
        os.close(fd)


def test_a_pty_of_another_process_is_refused() -> None:
    with another_process() as (pid, path):
        with pytest.raises(OSError, match="no pty of the guest's QEMU"):
            open_pty(path, os.getpid())
        assert Path(path).name in {str(index) for index in master_indexes(pid)}


@pytest.mark.parametrize("path", ["/dev/null", "/dev/tty", "/proc/self/mem", __file__])
def test_what_is_no_pty_is_refused(path: str) -> None:
    with pytest.raises(OSError, match=r"no pty|No such device"):
        open_pty(path, os.getpid())


def test_a_pty_of_another_devpts_is_refused() -> None:
    master, slave = os.openpty()
    status = os.fstat(slave)
    assert is_pty(status, status.st_dev)
    assert not is_pty(status, status.st_dev + 1)
    assert slave_index(status) == int(Path(os.ttyname(slave)).name)
    os.close(master)
    os.close(slave)
