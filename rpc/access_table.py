"""Access table: the permissions that libvirt has, and which of them each call needs.

Owns: the notation of `access.table` beside this module, and what a line means for a call. Pure.
Source: libvirt 9.0, "Client access control" (acl.html); protocol/remote.json, qemu.json, lxc.json.

It is a file of its own, read by those who check: a daemon without access control never loads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, NamedTuple, Protocol

from rpc.table_syntax import NotationError

NONE: Final = "none"  # a call that everybody may make
EVERYBODY: Final = "*"  # behind a permission that the default policy gives to everybody
_OBJECT: Final = re.compile(r"object (\w+): (.+)")
_PROGRAM: Final = re.compile(r"program (\w+)")
_CALL: Final = re.compile(r"(\w+): ([^>]+?)(?: -> ([\w.]+))?")
_RULE: Final = re.compile(r"(\w+)\.(\w+)(?::(?:(!?)(0x[0-9a-f]+)|(\w+)=(\d+)))?")


class Permission(NamedTuple):
    """A permission on a type of objects."""

    object: str  # "connect", "domain", "storage_vol", …
    name: str  # "getattr", "read_secure", …

    def __str__(self) -> str:
        return f"{self.object}.{self.name}"


class CalledProcedure(Protocol):
    """What a rule looks at of a call's procedure (`rpc.table.Procedure`)."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def args(self) -> Sequence[NamedArgument]:
        """Its arguments."""


class NamedArgument(Protocol):
    """An argument of a procedure."""

    @property
    def name(self) -> str:
        """Its name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A permission that a call needs, always or with some arguments."""

    permission: Permission
    flags: int = 0  # with one of these bits in `flags`; 0: whatever they are
    unless: bool = False  # without any of these bits
    argument: str = ""  # or: with this value of an argument
    value: int = 0

    def applies(self, procedure: CalledProcedure, arguments: Sequence[object]) -> bool:
        """Return whether a call with these arguments needs the permission."""
        if self.flags:
            given = argument_of(procedure, arguments, "flags")
            return isinstance(given, int) and bool(given & self.flags) != self.unless
        if self.argument:
            return argument_of(procedure, arguments, self.argument) == self.value
        return True


@dataclass(frozen=True, slots=True)
class CallAccess:
    """What a call needs."""

    rules: tuple[Rule, ...]  # none: everybody may
    filter: Permission | None = None  # on each object that it lists, or tells events of

    @property
    def object_type(self) -> str:
        """The type of the object that the permissions are for; "": everybody may call."""
        return self.rules[0].permission.object if self.rules else ""

    def required(
        self, procedure: CalledProcedure, arguments: Sequence[object]
    ) -> tuple[Permission, ...]:
        """List the permissions that a call with these arguments needs, each once."""
        needed = [rule.permission for rule in self.rules if rule.applies(procedure, arguments)]
        return tuple(dict.fromkeys(needed))


@dataclass(frozen=True, slots=True)
class AccessTable:
    """Every permission, and every call."""

    permissions: Mapping[Permission, bool]  # whether the default policy gives it to everybody
    calls: Mapping[str, CallAccess]  # by the procedure's name

    def of(self, procedure: CalledProcedure) -> CallAccess:
        """Return what a call needs.

        Raises:
            KeyError: the table does not have it; then nobody may.
        """
        return self.calls[procedure.name]


def argument_of(procedure: CalledProcedure, arguments: Sequence[object], name: str) -> object:
    """Return the argument of a name; None: there is none."""
    for field, value in zip(procedure.args, arguments, strict=True):
        if field.name == name:
            return value
    return None


def read_access(text: str, origin: str) -> AccessTable:
    """Read the table.

    Raises:
        NotationError: a line is not in the notation, or names an unknown permission.
    """
    permissions: dict[Permission, bool] = {}
    calls: dict[str, CallAccess] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#") or _PROGRAM.fullmatch(line):
            continue
        try:
            if match := _OBJECT.fullmatch(line):
                for name in match[2].split():
                    permission = Permission(match[1], name.removesuffix(EVERYBODY))
                    permissions[permission] = name.endswith(EVERYBODY)
            elif match := _CALL.fullmatch(line):
                if match[1] in calls:
                    raise ValueError(f"{match[1]} is there twice")
                calls[match[1]] = _call(permissions, match[2], match[3])
            else:
                raise ValueError("no line of the notation")
        except ValueError as error:
            raise NotationError(f"{origin}:{number}: {error}") from error
    return AccessTable(permissions, calls)


def _call(permissions: Mapping[Permission, bool], rules: str, listed: str | None) -> CallAccess:
    if rules == NONE:
        return CallAccess(())
    read = tuple(_rule(permissions, text) for text in rules.split())
    if len({rule.permission.object for rule in read}) != 1:
        raise ValueError("the permissions are for one type of object")
    return CallAccess(read, None if listed is None else _rule(permissions, listed).permission)


def _rule(permissions: Mapping[Permission, bool], text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(f"no permission: {text!r}")
    object_type, name, unless, flags, argument, value = match.groups()
    permission = Permission(object_type, name)
    if permission not in permissions:
        raise ValueError(f"no such permission: {permission}")
    return Rule(
        permission,
        flags=int(flags or "0", 16),
        unless=bool(unless),
        argument=argument or "",
        value=int(value or "0"),
    )


@cache
def load_access() -> AccessTable:
    """Return the table, read once in a process."""
    text = (resources.files("rpc") / "access.table").read_text(encoding="utf-8")
    return read_access(text, "rpc/access.table")
