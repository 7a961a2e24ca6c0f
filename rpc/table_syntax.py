"""Parser of the protocol tables: the project's own notation, one line for each procedure.

Owns: the notation (docs/decisions/protocol-table.md) and what a line means.
May touch: the `.table` files beside it. May not touch: bytes of messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

BASES: Final = frozenset(
    {"i16", "i32", "i64", "u8", "u16", "u32", "u64", "f64", "char", "string", "opaque", "uuid"}
)
_PROGRAM: Final = re.compile(r"program (\w+) (0x[0-9a-f]+) version (\d+)")
_CONST: Final = re.compile(r"const (\w+) = (\d+)")
_STRUCT: Final = re.compile(r"struct (\w+) \((.*)\)")
_UNION: Final = re.compile(r"union (\w+) \((.*)\)")
_EXCLUSIVE: Final = re.compile(r"exclusive (\w+) \((\w+): (0x[0-9a-f]+), (\w+): (0x[0-9a-f]+)\)")
_EVENT: Final = re.compile(r"(\d+) event (\w+) \((.*?)\)(?:\s+(.*))?")
_CALL: Final = re.compile(r"(\d+) (\w+) \((.*?)\) -> \((.*?)\)(?:\s+(.*))?")
#: What may follow a procedure or an event.
MARKS: Final = frozenset(
    {"owner", "stream", "sparse-flag", "high", "long", "ro", "before-auth", "before-open", "api"}
    | {"domain", "for", "event", "exclusive", "changes"}
)
#: Marks that end in the name of an argument.
ARGUMENT_MARKS: Final = ("ro-denied-", "before-open-")
_TYPE: Final = re.compile(r"(\w+)(?:\[(=?)(\w+)\])?(\??)")


class NotationError(Exception):
    """A line of a table is not in the notation; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Type:
    """A field's type."""

    base: str  # one of BASES, or a struct's or union's name
    optional: bool = False
    limit: int | None = None  # of an array: the most, or with `fixed` the exact number
    fixed: bool = False
    limit_name: str = field(default="", compare=False)  # of the limit's constant


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a structure, or an argument or result of a procedure."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class ExclusiveFlags:
    """Two flags of which a call may have one (libvirt: VIR_EXCLUSIVE_FLAGS_RET)."""

    names: tuple[str, str]  # libvirt's, for the error
    mask: int  # both


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a procedure or an event."""

    number: int
    name: str
    kind: str  # "call" or "event"
    args: tuple[Field, ...]
    ret: tuple[Field, ...] = ()
    marks: dict[str, str] = field(default_factory=dict)
    exclusive: tuple[ExclusiveFlags, ...] = ()


@dataclass(slots=True)
class Source:
    """The contents of one table file."""

    name: str = ""
    number: int = 0
    version: int = 0
    constants: dict[str, int] = field(default_factory=dict)
    structs: dict[str, tuple[Field, ...]] = field(default_factory=dict)
    unions: dict[str, dict[int, Type]] = field(default_factory=dict)
    exclusive: dict[str, ExclusiveFlags] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def read(text: str, origin: str, base: Source | None = None) -> Source:
    """Read a table.

    Args:
        text: the file's contents.
        origin: how errors name the file.
        base: another table whose structures and constants this one may use.

    Raises:
        NotationError: a line is not in the notation, or names an unknown type or constant.
    """
    source = Source()
    if base is not None:
        source.constants.update(base.constants)
        source.structs.update(base.structs)
        source.unions.update(base.unions)
    for number, line in enumerate(text.splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                _read_line(source, line)
            except (KeyError, ValueError) as error:
                raise NotationError(f"{origin}:{number}: {error}") from error
    return source


def _read_line(source: Source, line: str) -> None:
    if match := _CALL.fullmatch(line):
        number, name, args, ret, marks = match.groups()
        marked = _marks(marks or "")
        exclusive = filter(None, marked.get("exclusive", "").split(","))
        call = Line(
            int(number),
            name,
            "call",
            _fields(source, args),
            _fields(source, ret),
            marked,
            tuple(source.exclusive[pair] for pair in exclusive),
        )
        _add(source, call)
    elif match := _EVENT.fullmatch(line):
        number, name, args, marks = match.groups()
        event = Line(int(number), name, "event", _fields(source, args), marks=_marks(marks or ""))
        _add(source, event)
    elif match := _STRUCT.fullmatch(line):
        source.structs[match[1]] = _fields(source, match[2])
    elif match := _UNION.fullmatch(line):
        cases = _fields(source, re.sub(r"(\d+):", r"_\1:", match[2]))
        source.unions[match[1]] = {int(case.name[1:]): case.type for case in cases}
    elif match := _EXCLUSIVE.fullmatch(line):
        name, first, one, second, other = match.groups()
        pair = ExclusiveFlags((first, second), int(one, 16) | int(other, 16))
        source.exclusive[name] = pair
    elif match := _CONST.fullmatch(line):
        source.constants[match[1]] = int(match[2])
    elif match := _PROGRAM.fullmatch(line):
        source.name, source.number, source.version = match[1], int(match[2], 16), int(match[3])
    else:
        raise ValueError(f"neither a procedure nor a declaration: {line[:60]!r}")


def _add(source: Source, line: Line) -> None:
    """Add a procedure; numbers rise by one, so that none is repeated or missing."""
    if line.number != len(source.lines) + 1:
        raise ValueError(f"{line.name} is number {line.number}, not {len(source.lines) + 1}")
    if line.name in source.names:
        raise ValueError(f"{line.name} is defined twice")
    source.names.add(line.name)
    source.lines.append(line)


def _fields(source: Source, text: str) -> tuple[Field, ...]:
    fields = []
    for part in filter(None, text.split(", ")):
        name, colon, kind = part.partition(": ")
        if not colon:
            raise ValueError(f"a field without a type: {part!r}")
        fields.append(Field(name, _type(source, kind)))
    return tuple(fields)


def _type(source: Source, text: str) -> Type:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"no type: {text!r}")
    base, fixed, limit, optional = match.groups()
    if base not in BASES and base not in source.structs and base not in source.unions:
        raise ValueError(f"no such type: {base}")
    size = None
    if limit is not None:
        size = int(limit) if limit.isdigit() else source.constants[limit]
    return Type(base, bool(optional), size, bool(fixed), limit_name=limit or "")


def _marks(text: str) -> dict[str, str]:
    marks = {}
    for mark in text.split():
        name, _, value = mark.partition("=")
        if name not in MARKS and not name.startswith(ARGUMENT_MARKS):
            raise ValueError(f"no such mark: {mark!r}")
        marks[name] = value
    return marks
