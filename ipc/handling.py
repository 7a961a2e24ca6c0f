"""Which function answers which message, in one process.

Owns: the table of handlers, and what a link needs of the process that it belongs to.
May not touch: sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from ipc.errors import ErrorCodec, NoErrors
from ipc.frames import BodyDecoder
from ipc.messages import Event, Request, answer_of, handlers_of, marked, tag_of


@dataclass(frozen=True, slots=True)
class Handler:
    """What answers one type of message."""

    run: Callable[..., object]  # a coroutine that it gives is run as a task
    decoder: BodyDecoder


@dataclass(slots=True)
class Handlers:
    """What one process answers, whoever asks."""

    by_tag: dict[str, Handler] = field(default_factory=dict)

    def add(self, target: object) -> None:
        """Register every marked method of an object.

        Raises:
            ValueError: a message has a handler already.
        """
        for message, method in handlers_of(target).items():
            self.add_function(message, method)

    def add_function(self, message: type, run: Callable[..., object]) -> None:
        """Register one function.

        Raises:
            ValueError: the message has another handler already.
        """
        tag = tag_of(message)
        known = self.by_tag.get(tag)
        if known is not None and known.run != run:
            raise ValueError(f"{tag} has two handlers")
        self.by_tag[tag] = Handler(run, message_decoder(message))


class Home(Protocol):
    """What a link needs of the process that it belongs to."""

    handlers: Handlers
    errors: ErrorCodec


class Bare:
    """A home for a link that stands alone."""

    def __init__(self, errors: ErrorCodec | None = None) -> None:
        """Answer nothing yet."""
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NoErrors()


@cache
def message_decoder(message: type) -> BodyDecoder:
    """The decoder of a message."""
    return BodyDecoder(message)


def prepare_messages(*answering: type) -> None:
    """Do once for all processes forked later what each would do: learn messages and handlers.

    Args:
        answering: classes whose objects will be served; every message that is known by now is
            prepared in any case.
    """
    for target in answering:
        marked(target)
    for request in Request.__subclasses__():
        message_decoder(request)
        answer_decoder(request)
    for event in Event.__subclasses__():
        message_decoder(event)


@cache
def answer_decoder(request: type) -> BodyDecoder:
    """The decoder of what answers a request."""
    return BodyDecoder(answer_of(request))
