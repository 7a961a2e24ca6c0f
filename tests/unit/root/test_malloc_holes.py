"""Children of the zygote allocate at the end of the heap, not in pages that they share."""

from __future__ import annotations

import subprocess
import sys

#: Objects of more than 512 bytes are malloc's. Every second one is freed, so that it leaves a hole.
PROGRAM = """
from supervisor.root.malloc_holes import fill_malloc_holes
blocks = [bytes(1000 + number % 3000) for number in range(2000)]
end = max(map(id, blocks))
del blocks[::2]
if {fill}:
    fill_malloc_holes()
later = [bytes(900 + number * 13 % 3000) for number in range(300)]
print(sum(id(block) < end for block in later))
"""


def count_in_holes(*, fill: bool) -> int:
    argv = [sys.executable, "-c", PROGRAM.format(fill=fill)]
    return int(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)


def test_no_hole_of_the_heap_is_left_for_a_child() -> None:
    assert count_in_holes(fill=False) > 200
    assert count_in_holes(fill=True) < 10
