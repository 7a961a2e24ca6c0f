"""Call context: which call a handler answers, and the trace id of the work. Context variables.

Owns: the two variables; tasks that a handler starts inherit them.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from typing import NamedTuple

trace: ContextVar[str] = ContextVar("trace", default="")


class CallContext(NamedTuple):
    """The call that a handler answers."""

    peer: str  # the process that called
    trace: str
    deadline: float  # in the loop's time; infinite for an event


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
    """Make a trace id."""
    return secrets.token_hex(6)
