"""What the zygote rehearses leaves nothing behind."""

from __future__ import annotations

import gc
import os

from supervisor.objects.domain_status_xml import Status
from supervisor.workers.qemu.main import preload


def test_another_rehearsal_opens_nothing_more_and_writes_nothing() -> None:
    preload()  # the loop's library keeps a pipe for as long as the process lives
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    preload()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not any(isinstance(each, Status) for each in gc.get_objects())
