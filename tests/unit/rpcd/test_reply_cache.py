"""Cached replies that tell a process's CPU time: it is the present one, of that process alone."""

from __future__ import annotations

import gc
import os
import subprocess
import time

from ipc import Descriptor
from supervisor.rpcd.reply_cache import CPU_TIME, MAX_DESCRIPTORS, Key, ReplyCache
from supervisor.runtime.procfs import open_stat

KEY: Key = (1, 2, "qemu", b"arguments")


def stat_of(pid: int) -> Descriptor:
    stat = open_stat(pid)
    assert stat is not None
    return Descriptor(stat)


def test_a_repeated_reply_has_the_cpu_time_of_now() -> None:
    cache = ReplyCache()
    cache.put(KEY, b"before" + bytes(8), cache.generation, stat_of(os.getpid()))
    first = cache.get(KEY)
    assert first is not None
    assert first.startswith(b"before")
    until = time.process_time() + 0.03  # ticks of the kernel are 10 ms
    while time.process_time() < until:
        pass
    second = cache.get(KEY)
    assert second is not None
    assert CPU_TIME.unpack(second[6:])[0] > CPU_TIME.unpack(first[6:])[0]


def test_the_reply_of_a_process_that_has_exited_is_not_repeated() -> None:
    cache = ReplyCache()
    with subprocess.Popen(["sleep", "60"]) as process:
        cache.put(KEY, bytes(8), cache.generation, stat_of(process.pid))
        process.kill()
    assert cache.get(KEY) is None


def test_descriptors_are_closed_with_their_replies() -> None:
    gc.collect()  # what other tests have left is closed meanwhile
    cache = ReplyCache()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(MAX_DESCRIPTORS + 10):
        key: Key = (1, 2, "qemu", str(number).encode())
        cache.put(key, bytes(8), cache.generation, stat_of(os.getpid()))
    assert len(os.listdir("/proc/self/fd")) <= before + MAX_DESCRIPTORS
    cache.clear()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_descriptor_whose_reply_is_outdated_is_closed() -> None:
    cache = ReplyCache()
    requested = cache.generation
    cache.clear()
    before = len(os.listdir("/proc/self/fd"))
    cache.put(KEY, bytes(8), requested, stat_of(os.getpid()))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_change_of_settings_leaves_what_depends_on_the_state_alone() -> None:
    cache = ReplyCache()
    cache.put(KEY, b"setting", cache.generation)
    cache.put_of_state((1, 3, "qemu", b""), b"state", cache.generation)
    requested = cache.generation
    cache.clear(of_host=False, settings=True)
    assert cache.get(KEY) is None
    assert cache.get((1, 3, "qemu", b"")) == b"state"
    cache.clear(of_host=False)
    assert cache.get((1, 3, "qemu", b"")) is None
    cache.put_of_state((1, 3, "qemu", b""), b"state", requested)
    assert cache.get((1, 3, "qemu", b"")) is None, "it was requested before the change"
