"""The memory policy that a child inherits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from supervisor.runtime.memory_policy import (
    LONG_BITS,
    MemoryPolicy,
    MemoryPolicyError,
    Mode,
    node_mask,
    own_memory_policy,
)

MAPS = "import sys; sys.stdout.write(open('/proc/self/numa_maps').read())"


def policy_of_child() -> str:
    try:
        maps = subprocess.run([sys.executable, "-c", MAPS], capture_output=True, text=True)
    except OSError:
        return ""
    return maps.stdout


def test_a_child_has_the_policy_and_this_process_its_own_again() -> None:
    if "default" not in policy_of_child():
        pytest.skip("this kernel has no /proc/PID/numa_maps")
    with own_memory_policy(MemoryPolicy(Mode.INTERLEAVE, frozenset({0}))):
        assert "interleave:0" in policy_of_child()
    assert "interleave" not in policy_of_child()
    with own_memory_policy(None):
        assert "interleave" not in policy_of_child()


def test_a_node_that_the_host_does_not_have_is_refused() -> None:
    with (
        pytest.raises(MemoryPolicyError, match="for nodes 1000"),
        own_memory_policy(MemoryPolicy(Mode.BIND, frozenset({1000}))),
    ):
        pass


def test_nodes_are_bits_of_longs() -> None:
    assert list(node_mask(frozenset({0, 3, LONG_BITS}))) == [0b1001, 1]
    assert list(node_mask(frozenset())) == [0]
