"""What the zygote rehearses leaves nothing behind."""

from __future__ import annotations

import gc
import os

from supervisor.objects.domain_status_xml import Status
from supervisor.workers.qemu.main import preload


def test_another_rehearsal_leaves_no_descriptor_and_no_guest() -> None:
    preload()  # the loop's library keeps a pipe for as long as the process lives
    gc.collect()
    before, known = len(os.listdir("/proc/self/fd")), statuses()
    preload()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert statuses() <= known  # those of other tests may have gone meanwhile


def statuses() -> int:
    return sum(isinstance(each, Status) for each in gc.get_objects())
