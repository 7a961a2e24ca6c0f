"""The XML of one object type: how its definitions are read, written and identified.

Owns: that description. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

D = TypeVar("D")  # a definition


class Identity(NamedTuple):
    """What tells an object from others of its type."""

    name: str
    uuid: bytes

    @staticmethod
    def of_texts(name: str, uuid: object) -> Identity:
        """Make one of a model's name and UUID."""
        return Identity(name, UUID(str(uuid)).bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionXml(Generic[D]):
    """The XML of an object type's definitions."""

    parse: Callable[[str], D]  # raises ConfError
    format: Callable[[D], str]  # with everything that a restarted service needs
    identity: Callable[[D], Identity]
