"""What the zygote goes through before it forks leaves nothing that a child would notice."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from supervisor.runtime.warm_up import warm_up


def test_a_rehearsal_leaves_no_thread_no_handler_and_no_wakeup() -> None:
    handler, threads = signal.getsignal(signal.SIGTERM), set(threading.enumerate())
    tasks = {path.name for path in Path("/proc/self/task").iterdir()}
    warm_up()
    assert set(threading.enumerate()) <= threads
    assert {path.name for path in Path("/proc/self/task").iterdir()} <= tasks
    assert signal.getsignal(signal.SIGTERM) == handler
    assert signal.set_wakeup_fd(-1) == -1


def test_another_rehearsal_opens_nothing_more() -> None:
    warm_up()  # the loop's library keeps a pipe for as long as the process lives
    before = len(os.listdir("/proc/self/fd"))
    warm_up()
    assert len(os.listdir("/proc/self/fd")) == before
