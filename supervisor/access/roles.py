"""Roles: who may do what to which objects, as roles.conf says. Pure.

Owns: the file's notation (docs/access.md) and what its rules decide.
May not touch: files, the host's users; the caller reads the one and looks up the others.

A file that has a mistake is refused as a whole, with the mistake's line: half a list of rules may
allow what the other half denies.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from conf.errors import ConfError
from conf.types.glob import matches_any
from conf.types.uuid import is_uuid, parse_uuid
from rpc.access_table import load_access
from supervisor.access.access_object import AccessObject

MAX_LINES: Final = 10_000
CONDITIONS: Final = ("name", "uuid", "pool", "driver", "metadata")
MEMBERS: Final = ("user", "uid", "group", "gid", "sasl", "dn")
ANYBODY: Final = "any"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_TERM: Final = re.compile(r"([a-z]+):(.+)", re.DOTALL)


class KnownIdentity(Protocol):
    """What rules look at of a client (`supervisor.messages.calls.Identity`)."""

    @property
    def uid(self) -> int:
        """Its user; -1: not by a Unix socket."""

    @property
    def gid(self) -> int:
        """Its group."""

    @property
    def groups(self) -> tuple[int, ...]:
        """Its further groups."""

    @property
    def sasl_name(self) -> str:
        """Its name by SASL."""

    @property
    def tls_dn(self) -> str:
        """The name in its certificate."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A term of `who`."""

    type: str  # "uid", "gid", "sasl", "dn", "any"
    pattern: str = ""  # of "sasl" and "dn"
    number: int = -1  # of "uid" and "gid"

    def includes(self, identity: KnownIdentity) -> bool:
        """Return whether the term is for a client."""
        match self.type:
            case "uid":
                return identity.uid == self.number
            case "gid":
                return identity.gid == self.number or self.number in identity.groups
            case "sasl":
                return bool(identity.sasl_name) and matches_any(identity.sasl_name, [self.pattern])
            case "dn":
                return bool(identity.tls_dn) and matches_any(identity.tls_dn, [self.pattern])
        return self.type == ANYBODY


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """What an object must be for a rule."""

    type: str  # one of CONDITIONS
    pattern: str
    uri: str = ""  # of "metadata": the element's namespace

    def holds(self, obj: AccessObject, driver: str) -> bool:
        """Return whether it holds of an object."""
        match self.type:
            case "uuid":
                return obj.uuid == self.pattern
            case "driver":
                value = driver
            case "metadata":
                value = dict(obj.metadata).get(self.uri, "")
            case _:
                value = obj.name if self.type == "name" else obj.pool
        return bool(value) and matches_any(value, [self.pattern])


class RoleRule(msgspec.Struct, frozen=True, array_like=True):
    """One line of `allow` or `deny`."""

    line: int
    text: str
    allows: bool
    permissions: frozenset[str]  # "domain.start"; patterns are expanded
    conditions: tuple[Condition, ...] = ()

    def is_for(self, permission: str, obj: AccessObject, driver: str) -> bool:
        """Return whether the rule decides: of each type of condition that it has, one holds."""
        if permission not in self.permissions:
            return False
        types = {condition.type for condition in self.conditions}
        return all(
            any(c.holds(obj, driver) for c in self.conditions if c.type == condition_type)
            for condition_type in types
        )


class Role(msgspec.Struct, frozen=True, array_like=True):
    """Some clients, and rules for them."""

    name: str
    members: tuple[Member, ...]
    rules: tuple[RoleRule, ...]

    def includes(self, identity: KnownIdentity) -> bool:
        """Return whether a client has the role."""
        return any(member.includes(identity) for member in self.members)


class Roles(msgspec.Struct, frozen=True, array_like=True):
    """The whole file."""

    origin: str = ""
    roles: tuple[Role, ...] = ()

    @property
    def metadata_uris(self) -> tuple[str, ...]:
        """List the namespaces of the metadata that rules look at."""
        conditions = (c for role in self.roles for rule in role.rules for c in rule.conditions)
        return tuple(dict.fromkeys(c.uri for c in conditions if c.type == "metadata"))

    def decide(
        self, identity: KnownIdentity, permission: str, obj: AccessObject, driver: str
    ) -> tuple[Role, RoleRule] | None:
        """Find the rule that decides: the first in the file that is for client and object.

        Args:
            identity: the client's.
            permission: "domain.start".
            obj: what it is asked for.
            driver: libvirt's name of the driver, "QEMU".

        Returns:
            The rule and its role; None: there is none, and the client may not.
        """
        for role in self.roles:
            if role.includes(identity):
                for rule in role.rules:
                    if rule.is_for(permission, obj, driver):
                        return role, rule
        return None


def parse_roles(
    data: bytes, origin: str, user_id: Callable[[str], int], group_id: Callable[[str], int]
) -> Roles:
    """Read the file.

    Args:
        data: its contents.
        origin: how errors name it.
        user_id: looks up a user's number; raises KeyError for an unknown one.
        group_id: the same of a group.

    Raises:
        ConfError: kind "conf_syntax", naming file and line.
    """
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfError("conf_syntax", f"{origin}: it is not UTF-8: {error}", origin) from None
    if len(lines) > MAX_LINES:
        raise ConfError("conf_syntax", f"{origin} has more than {MAX_LINES} lines", origin)
    ids = {"user": user_id, "group": group_id}
    reader = _Reader(ids)
    for number, line in enumerate(lines, 1):
        try:
            reader.read(number, line.strip(), shlex.split(line, comments=True))
        except ValueError as error:
            where = f"{origin}:{number}"
            raise ConfError("conf_syntax", f"{where}: {error}", where) from None
    try:
        return Roles(origin, reader.finish())
    except ValueError as error:
        raise ConfError("conf_syntax", f"{origin}:{len(lines)}: {error}", origin) from None


class _Reader:
    """Collects roles line by line; mistakes are a ValueError."""

    def __init__(self, ids: Mapping[str, Callable[[str], int]]) -> None:
        self._ids = ids
        self._roles: list[Role] = []
        self._name = ""
        self._members: list[Member] = []
        self._rules: list[RoleRule] = []

    def read(self, number: int, line: str, terms: list[str]) -> None:
        """Take a line."""
        if not terms:
            return
        key, *rest = terms
        if key == "role":
            self._end_role()
            self._begin_role(rest)
        elif key not in ("who", "allow", "deny"):
            raise ValueError(f"'{key}' is none of role, who, allow, deny")
        elif not self._name:
            raise ValueError(f"'{key}' stands before the first role")
        elif not rest:
            raise ValueError(f"'{key}' says nothing")
        elif key == "who":
            self._members += [self._member(term) for term in rest]
        else:
            self._rules.append(_rule(number, line, rest, allows=key == "allow"))

    def finish(self) -> tuple[Role, ...]:
        """End the last role and return all."""
        self._end_role()
        return tuple(self._roles)

    def _begin_role(self, rest: list[str]) -> None:
        if len(rest) != 1 or not _NAME.fullmatch(rest[0]):
            raise ValueError("a role has one name, of letters, digits and . _ -")
        if any(role.name == rest[0] for role in self._roles):
            raise ValueError(f"there are two roles '{rest[0]}'")
        self._name = rest[0]

    def _end_role(self) -> None:
        if not self._name:
            return
        if not self._members:
            raise ValueError(f"role '{self._name}' does not say who has it")
        self._roles.append(Role(self._name, tuple(self._members), tuple(self._rules)))
        self._members, self._rules = [], []

    def _member(self, term: str) -> Member:
        if term == ANYBODY:
            return Member(ANYBODY)
        match = _TERM.fullmatch(term)
        if match is None or match[1] not in MEMBERS:
            raise ValueError(f"'{term}' is nobody: say any, {', '.join(MEMBERS)}:")
        kind, value = match.groups()
        if kind in ("sasl", "dn"):
            return Member(kind, value)
        if kind in ("uid", "gid"):
            if not value.isascii() or not value.isdecimal():
                raise ValueError(f"'{term}' is no number")
            return Member(kind, number=int(value))
        try:
            return Member("uid" if kind == "user" else "gid", number=self._ids[kind](value))
        except KeyError:
            raise ValueError(f"the host has no {kind} '{value}'") from None


def _rule(number: int, line: str, terms: list[str], *, allows: bool) -> RoleRule:
    permissions: set[str] = set()
    conditions: list[Condition] = []
    for term in terms:
        if ":" in term:
            conditions.append(_condition(term))
            continue
        found = {str(p) for p in load_access().permissions if matches_any(str(p), [term])}
        if not found:
            raise ValueError(f"there is no permission '{term}'")
        permissions |= found
    if not permissions:
        raise ValueError("the rule names no permission")
    return RoleRule(number, line, allows, frozenset(permissions), tuple(conditions))


def _condition(term: str) -> Condition:
    match = _TERM.fullmatch(term)
    if match is None or match[1] not in CONDITIONS:
        raise ValueError(f"'{term}' is no condition: say {', '.join(CONDITIONS)}:")
    kind, value = match.groups()
    if kind == "uuid":
        if not is_uuid(value):
            raise ValueError(f"'{value}' is no UUID")
        return Condition(kind, parse_uuid(value))
    if kind == "metadata":
        uri, equals, pattern = value.rpartition("=")
        if not (uri and equals and pattern):
            raise ValueError(f"'{term}' is not metadata:NAMESPACE=TEXT")
        return Condition(kind, pattern, uri)
    return Condition(kind, value)
