"""Work on a document, in a thread where the document is large.

Owns: what counts as large. May not touch: the document.

Parsing, completing and formatting hold the interpreter, but a thread gives it up every 5 ms
(sys.getswitchinterval), so that the service answers other calls beside a document of megabytes.
A small one does not pay for the change of threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

#: Characters of a document whose parsing takes some milliseconds.
LARGE: Final = 32 * 1024

R = TypeVar("R")


async def off_loop(size: int, work: Callable[[], R]) -> R:
    """Do work on a document that nothing else uses meanwhile.

    Args:
        size: characters of the document.
        work: what to do; it may go on in its thread when the caller is cancelled.

    Raises:
        Exception: what the work raises.
    """
    return work() if size <= LARGE else await asyncio.to_thread(work)
