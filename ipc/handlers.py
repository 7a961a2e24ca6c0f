"""Handlers: which function of a process answers which message.

Owns: the registry of handlers, and what a link needs of the process it belongs to.
May not touch: sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from ipc.errors import ErrorCodec, NullErrorCodec
from ipc.frames import BodyDecoder
from ipc.held_events import HeldEvents
from ipc.messages import NOT_PREPARED, HandlerMark, Request, handler_marks, reply_type, tag_of


@dataclass(frozen=True, slots=True)
class Handler:
    """The handler of one type of message."""

    run: Callable[..., object]  # a coroutine that it returns is run as a task
    decoder: BodyDecoder


class Handlers:
    """The handlers of one process."""

    def __init__(self) -> None:
        self._targets: list[tuple[object, dict[str, HandlerMark]]] = []
        self._by_tag: dict[str, Handler] = {}  # functions at once, methods at their first call

    def add(self, target: object) -> None:
        """Register every marked method of an object.

        Raises:
            ValueError: a message has a handler already.
        """
        marks = handler_marks(type(target))  # type: ignore[arg-type]  # (hashable)
        taken: list[Collection[str]] = [self._by_tag, *(tags for _, tags in self._targets)]
        for tags in taken:
            if not marks.keys().isdisjoint(tags):
                raise ValueError(f"{sorted(marks.keys() & tags)} have two handlers")
        self._targets.append((target, marks))

    def add_function(self, message: type, run: Callable[..., object]) -> None:
        """Register one function.

        Raises:
            ValueError: the message has another handler already.
        """
        tag = tag_of(message)
        earlier = self.find(tag)
        if earlier is not None and earlier.run != run:
            raise ValueError(f"{tag} has two handlers")
        self._by_tag[tag] = Handler(run, message_decoder(message))

    def find(self, tag: str) -> Handler | None:
        """Find the handler of a message."""
        handler = self._by_tag.get(tag)
        if handler is not None:
            return handler
        for target, marks in self._targets:
            if tag in marks:
                mark = marks[tag]
                handler = Handler(getattr(target, mark.method), message_decoder(mark.message))
                return self._by_tag.setdefault(tag, handler)
        return None


class Endpoint(Protocol):
    """What a link needs of the process that it belongs to."""

    handlers: Handlers
    errors: ErrorCodec
    held_events: HeldEvents
    on_reply_lost: list[Callable[[], None]]  # called when a caller is gone before its reply


class StandaloneEndpoint:
    """The endpoint of a link that belongs to no node: a pool process, a test."""

    def __init__(self, errors: ErrorCodec | None = None) -> None:
        self.handlers = Handlers()
        self.errors: ErrorCodec = errors or NullErrorCodec()
        self.held_events = HeldEvents()
        self.on_reply_lost: list[Callable[[], None]] = []


@cache
def message_decoder(message: type) -> BodyDecoder:
    """Return the decoder of a message."""
    return BodyDecoder(message)


def prepare_messages(*handler_classes: type) -> None:
    """Compile decoders and find handlers in the zygote, once for all processes forked later.

    Args:
        handler_classes: classes whose objects will handle messages; every message class that is
            imported by now is prepared in any case.
    """
    for target in handler_classes:
        handler_marks(target)
    while NOT_PREPARED:
        message = NOT_PREPARED.pop()
        message_decoder(message)
        if issubclass(message, Request):
            reply_decoder(message)


@cache
def reply_decoder(request: type) -> BodyDecoder:
    """Return the decoder of a request's reply."""
    return BodyDecoder(reply_type(request))
