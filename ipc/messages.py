"""Messages: the base classes, the handler decorator, and the messages of the bus itself.

Owns: what makes a struct a message and a method its handler.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

from ipc.descriptor import Descriptor

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

HANDLES: Final = "__handles__"
#: The classes that `prepare_messages` has not seen. Looking at each class again would write to its
#: reference count, and so copy a page that the zygote shares with its children.
NOT_PREPARED: Final[list[type]] = []


class Request(msgspec.Struct, Generic[R], frozen=True, kw_only=True, array_like=True):
    """A message whose reply is an `R`; a subclass gives `tag="owner.verb"` and a deadline.

    Raises:
        TypeError: the subclass has no `deadline_s`.
    """

    deadline_s: ClassVar[float]  # the longest a caller waits for the reply

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "deadline_s"):
            raise TypeError(f"{cls.__name__} has no deadline_s")
        NOT_PREPARED.append(cls)


class Event(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A message without a reply; a subclass gives `tag="owner.noun"`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        NOT_PREPARED.append(cls)


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """The reply that has no content: the request is done."""


class LinkGranted(msgspec.Struct, frozen=True, kw_only=True):
    """The requested link: the caller's end of a socket pair."""

    descriptor: Descriptor


class Connect(Request[LinkGranted], frozen=True, kw_only=True, tag="bus.connect"):
    """Any process to the root: connect me to a service, waiting until it is ready.

    Errors: NoSuchService.
    """

    deadline_s = 30.0
    service: str


class LinkOffer(Event, frozen=True, kw_only=True, tag="bus.incoming"):
    """The root to a process: `peer` requested a link; the descriptor is your end of it."""

    peer: str
    descriptor: Descriptor


class Subscribe(Request[Ack], frozen=True, kw_only=True, tag="bus.subscribe"):
    """Send events of these tags from now on."""

    deadline_s = 10.0
    tags: list[str]


def handles(message: type[Request[Any]] | type[Event]) -> Callable[[F], F]:
    """Mark a method as the handler of a message; a plain `def` runs without a task of its own."""

    def mark(method: F) -> F:
        setattr(method, HANDLES, message)
        return method

    return mark


class HandlerMark(NamedTuple):
    """A method that handles a message."""

    message: type
    method: str


@cache
def handler_marks(target: type) -> dict[str, HandlerMark]:
    """Return the methods of a class that are marked as handlers, by tag.

    Raises:
        ValueError: two of them handle one message.
    """
    marks: dict[str, HandlerMark] = {}
    for name, member in inspect.getmembers(target, inspect.isfunction):
        message = getattr(member, HANDLES, None)
        if message is None:
            continue
        tag = tag_of(message)
        if tag in marks:
            raise ValueError(f"{tag} has two handlers: {marks[tag].method}, {name}")
        marks[tag] = HandlerMark(message, name)
    return marks


@cache
def tag_of(message: type) -> str:
    """Return the tag that names a message class in frames."""
    return str(message.__struct_config__.tag)  # type: ignore[attr-defined]


def reply_type(request: type) -> object:
    """Return the reply type of a request: the `R` of its `Request[R]`."""
    for kind in request.__mro__:
        for base in kind.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(base) is Request:
                (reply,) = typing.get_args(base)
                if isinstance(reply, typing.ForwardRef):  # a class defined later in the module
                    return getattr(sys.modules[kind.__module__], reply.__forward_arg__)
                return reply
    raise TypeError(f"{request.__name__} does not name its reply type: Request[…]")
