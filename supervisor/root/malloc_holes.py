"""Fills the free chunks in malloc's heap before a fork.

Owns: what it allocates, which is never freed. May touch: this process's heap, by malloc only.

malloc takes the free chunk that fits best. Importing modules leaves thousands of them between
chunks that stay: a child would take them for its own allocations one by one, and each such write
copies a page of 4 KiB that it shares with the zygote. Without free chunks it gets memory from the
end of the heap, page after page: 0.7 to 0.9 MiB less in every process (docs/decisions/zygote.md).
Python's own allocator takes what is up to 512 bytes, and leaves few holes.
"""

from __future__ import annotations

import ctypes
from typing import Final

ALIGNMENT: Final = 16  # bytes: malloc rounds a chunk's size up to it
HEADER: Final = 8  # bytes of a chunk that the caller does not get
#: From large to small, so that each free chunk is filled by the largest size that fits.
SIZES: Final = (
    *range(1 << 16, 1 << 12, -2048),
    *range(1 << 12, 1 << 10, -256),
    *range(1 << 10, 512, -64),
    *range(512, ALIGNMENT, -ALIGNMENT),
)
#: glibc keeps up to 7 freed chunks of each of these sizes aside, where they can be neighbours.
MAX_CACHED: Final = 1040  # bytes
CACHED: Final = 8
MAX_CHUNKS: Final = 4096  # of one size: an allocator of another kind is not filled for ever


def fill_malloc_holes() -> None:
    """Allocate every free chunk below the end of the heap."""
    libc = ctypes.CDLL(None)
    malloc, free = libc.malloc, libc.free
    malloc.restype, malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    free.restype, free.argtypes = None, (ctypes.c_void_p,)
    for size in SIZES:
        neighbours = CACHED if size <= MAX_CACHED else 1
        previous, run = malloc(size - HEADER) or 0, 0
        for _ in range(MAX_CHUNKS):
            address = malloc(size - HEADER) or 0
            run = run + 1 if address == previous + size else 0
            if run == neighbours:  # no hole holds two of a size: both are at the end of the heap
                free(address)
                free(previous)
                break
            previous = address
