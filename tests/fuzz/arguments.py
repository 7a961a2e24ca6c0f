"""Random arguments for any procedure of the protocol table.

Owns: which values are interesting for each type. Pure but for the random source it is given.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from random import Random
from typing import Final

from rpc import table, values
from rpc.codecs import LETTERS, NARROW
from rpc.table import EncodeError, Procedure
from rpc.table_syntax import Field, Source, Type, read

BITS: Final = {"b": 7, "i": 31, "I": 32, "q": 63, "Q": 64}
STRINGS: Final = (
    *("", "x", "fz", "default", "pool", "vol", "vda", "vnet0", "net0", "/", "/tmp", "../x", "é"),
    *("%s%n", "a\nb", "x" * 300, "x" * 70_000, "qemu:///system", "<", "<domain/>", "{}", "[" * 500),
    *("0-3", "0", "^1", "cpu_shares", "vcpu_quota", "utf-8\u2028", "10.0.0.1", "52:54:00:12:34:56"),
    '{"execute":"query-status"}', "<metadata/>", "<domainsnapshot/>", "<disk type='file'/>",
)  # fmt: skip
MAX_BYTES: Final = 4096
MAX_ITEMS: Final = 4
Known = Mapping[str, Sequence[object]]  # values for arguments and structures, by name


@cache
def sources() -> dict[int, Source]:
    """Return the tables' notations by program number."""
    folder = resources.files("rpc")
    result: dict[int, Source] = {}
    first = None
    for name in table.TABLES:
        text = (folder / f"{name}.table").read_text(encoding="utf-8")
        source = read(text, f"rpc/{name}.table", first)
        first = first or source
        result[source.number] = source
    return result


def calls() -> list[Procedure]:
    """List every call of every program, in a lasting order."""
    return [procedure for procedure in table.load().procedures() if procedure.kind == "call"]


def payload(procedure: Procedure, random: Random, known: Known | None = None) -> bytes:
    """Encode random arguments; now and then the bytes are damaged."""
    maker = _Maker(sources()[procedure.program], random, known or {})
    try:
        encoded = procedure.encode_args([maker.field(field) for field in procedure.args])
    except EncodeError:  # two limits of the protocol that no argument can meet together
        encoded = b""
    return damaged(encoded, random) if random.random() < 0.15 else encoded


def damaged(data: bytes, random: Random) -> bytes:
    """Change a few bytes, cut some off or add some."""
    bent = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        match random.randrange(4):
            case 0 if bent:
                bent[random.randrange(len(bent))] = random.randrange(256)
            case 1:
                del bent[random.randrange(len(bent) + 1) :]
            case 2 if len(bent) >= 4:
                place = random.randrange(len(bent) // 4) * 4
                bent[place : place + 4] = struct.pack(
                    ">I", random.choice((0, 1, 255, 2**31, 2**32 - 1))
                )
            case _:
                bent += random.randbytes(random.randrange(64))
    return bytes(bent)


class _Maker:
    def __init__(self, source: Source, random: Random, known: Known) -> None:
        self._source = source
        self._random = random
        self._known = known

    def field(self, field: Field) -> object:
        """Make a value of a field."""
        if field.name in self._known and self._random.random() < 0.7:
            return self._random.choice(self._known[field.name])
        return self._value(field.type)

    def _value(self, kind: Type) -> object:
        if kind.optional and self._random.random() < 0.3:
            return None
        if kind.limit is not None:
            return self._array(kind)
        return self._one(kind.base)

    def _array(self, kind: Type) -> object:
        limit = kind.limit or 0
        if kind.base in ("opaque", "char"):
            size = limit if kind.fixed else min(limit, self._random.choice((0, 1, 8, MAX_BYTES)))
            return self._random.randbytes(size)
        count = limit if kind.fixed else self._random.randrange(min(limit, MAX_ITEMS) + 1)
        return [self._one(kind.base) for _ in range(count)]

    def _one(self, base: str) -> object:
        if base in self._known and self._random.random() < 0.9:
            return self._random.choice(self._known[base])
        if base == "string":
            return self._random.choice(STRINGS)
        if base == "uuid":
            return self._random.choice((bytes(16), self._random.randbytes(16)))
        if base == "f64":
            return self._random.choice((0.0, -1.0, 1e300, float("inf"), float("nan")))
        if base in LETTERS:
            return self._integer(base)
        if base in self._source.unions:
            cases = self._source.unions[base]
            number = self._random.choice(list(cases))
            return values.TypedValue(number, self._value(cases[number]))  # type: ignore[arg-type]
        name = "".join(word.capitalize() for word in base.split("_"))
        fields = self._source.structs[base]
        return getattr(values, name)(*(self.field(field) for field in fields))

    def _integer(self, base: str) -> int:
        low, high = NARROW.get(base) or _range(LETTERS[base])
        match self._random.randrange(6):
            case 0 | 1:
                return 0
            case 2:
                return min(high, 1 << self._random.randrange(0, 32))  # one flag
            case 3:
                return self._random.choice((low, high))
            case 4:
                return self._random.randrange(low, high + 1)
            case _:
                return min(high, self._random.randrange(16))


def _range(letter: str) -> tuple[int, int]:
    bits = struct.calcsize(">" + letter) * 8
    return (0, (1 << bits) - 1) if letter.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)
