"""Call context: which call a handler answers, and the trace id of the work. Context variables.

Owns: the two variables; tasks that a handler starts inherit them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import count
from typing import Final, NamedTuple

TRACE_BITS: Final = 48

trace: ContextVar[str] = ContextVar("trace", default="")


class CallContext(NamedTuple):
    """The call that a handler answers."""

    peer: str  # the process that called
    trace: str
    deadline: float  # in the loop's time; infinite for an event


_numbers: Iterator[int] | None = None
_current: ContextVar[CallContext] = ContextVar("call")


def current_call() -> CallContext:
    """Return the call that the running handler answers.

    Raises:
        LookupError: outside a handler.
    """
    return _current.get()


def set_call(call: CallContext) -> None:
    """Set the call, and its trace id, in the current context."""
    _current.set(call)
    trace.set(call.trace)


def new_trace() -> str:
    """Make a trace id: the ids of a process follow each other from a random one on."""
    global _numbers
    if _numbers is None:
        _numbers = count(secrets.randbits(TRACE_BITS))
    return f"{next(_numbers) % (1 << TRACE_BITS):012x}"
