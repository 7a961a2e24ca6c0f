"""Who called, and which trace the work belongs to: known in a handler without being passed along.

Owns: the two context variables.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from typing import NamedTuple

trace: ContextVar[str] = ContextVar("trace", default="")


class CallContext(NamedTuple):
    """The call that a handler is answering."""

    peer: str  # the process that called
    trace: str
    deadline: float  # in the loop's time; infinite for an event


_current: ContextVar[CallContext] = ContextVar("call")


def current_call() -> CallContext:
    """The call that is being answered.

    Raises:
        LookupError: outside a handler.
    """
    return _current.get()


def set_call(call: CallContext) -> None:
    """Begin to work for a call, in the present context."""
    _current.set(call)
    trace.set(call.trace)


def new_trace() -> str:
    """Make an id that no other work has."""
    return secrets.token_hex(6)
