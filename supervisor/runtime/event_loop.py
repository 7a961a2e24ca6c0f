"""The event loop of a process, without the memory that it has no use for.

Owns: how the loop is made. May touch: the loop object's own memory, as far as it is zero.

uvloop's object has a buffer of 250 KB inside for streams of its own, of which our processes have
none that matter, and Python fills a new object with zeros: so every page of it is there, in each
process. A page of zeros that is given back is a page of zeros again when it is touched.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
from typing import Final

import uvloop

MADV_DONTNEED: Final = 4  # Linux, madvise(2): private anonymous pages are zero at the next access
ZEROS: Final = bytes(mmap.PAGESIZE)

_madvise: Final = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a loop."""
    loop = uvloop.new_event_loop()
    give_back_zeros(id(loop), type(loop).__basicsize__)
    return loop


def give_back_zeros(address: int, size: int) -> None:
    """Give the pages back that hold nothing but zeros.

    Args:
        address: of memory that malloc gave, in CPython the `id` of an object.
        size: of it, in bytes; pages that others have a part of are left alone.
    """
    page = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    while page + mmap.PAGESIZE <= address + size:
        if ctypes.string_at(page, mmap.PAGESIZE) == ZEROS:
            _madvise(page, mmap.PAGESIZE, MADV_DONTNEED)
        page += mmap.PAGESIZE
