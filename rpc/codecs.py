"""Codecs: compiles the table's types into functions that encode and decode XDR.

Owns: the encoding of each type, and every limit. Values are plain data: a structure is its
NamedTuple from `rpc.values`, an array a list, `opaque` and `char` arrays bytes.
May not touch: sockets, procedures' meaning.
Source: RFC 4506; protocol/features_9_0.md for what libvirt does differently.

A function's source text is made from the type and compiled at its first use: adjacent numbers
become one `struct` call, which is several times as fast as a closure for each type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from rpc import values, xdr
from rpc.table_syntax import Field, Source, Type
from rpc.xdr import DecodeError, EncodeError, ResultTooLarge

#: Format characters of `struct`; XDR gives short and char four bytes as well.
LETTERS: Final = {
    "i32": "i", "u32": "I", "i64": "q", "u64": "Q", "f64": "d", "i16": "i", "u16": "I", "u8": "I",
    "char": "i",
}  # fmt: skip
NARROW: Final = {
    "i16": (-32768, 32767), "u16": (0, 65535), "u8": (0, 255), "char": (-128, 127),
}  # fmt: skip

#: What Python raises for a value of another type than the field's.
UNENCODABLE: Final = (struct.error, TypeError, ValueError, AttributeError, OverflowError)
#: Functions that compiled functions may call, beside each other.
PIECES: Final = (
    "DecodeError", "EncodeError", "U32", "narrow", "read_chars", "read_count", "read_fixed",
    "read_opaque", "read_string", "within", "write_chars", "write_count", "write_fixed",
    "write_opaque", "write_string",
)  # fmt: skip

Decode = Callable[[bytes], tuple[Any, ...]]
Encode = Callable[[Sequence[Any]], bytes]


def least_size(source: Source, kind: Type) -> int:
    """Return the fewest bytes that a value of the type takes; at least one, to bound arrays."""
    if kind.optional or (kind.limit is not None and not kind.fixed):
        return 4
    if kind.base in LETTERS:
        size = struct.calcsize(">" + LETTERS[kind.base])
    elif kind.base == "uuid":
        size = 16
    elif kind.base in source.structs:
        size = sum(least_size(source, field.type) for field in source.structs[kind.base])
    else:
        size = 4
    return max(1, size * (kind.limit if kind.fixed and kind.limit else 1))


class Compiler:
    """Compiles the functions of one table; those of structures are shared."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: dict[str, Any] = {name: getattr(xdr, name) for name in PIECES}
        self._names["struct"] = struct
        self._names["TypedValue"] = values.TypedValue

    def decoder(self, fields: tuple[Field, ...]) -> Decode:
        """Compile the function that decodes fields.

        The function raises `DecodeError` for other bytes; bytes left over are ignored.
        """
        text = _Decoder(self).text("decode", fields, "tuple")
        raw = self._compile(text, "decode")

        def decode(data: bytes) -> tuple[Any, ...]:
            try:
                decoded: tuple[Any, ...] = raw(data, 0)[0]
            except (struct.error, UnicodeDecodeError) as error:
                raise DecodeError(str(error)) from None
            return decoded

        return decode

    def encoder(self, fields: tuple[Field, ...]) -> Encode:
        """Compile the function that encodes fields.

        The function raises `EncodeError` for a value that does not fit them.
        """
        if fields and all(_is_wide(field.type) for field in fields):
            return _number_encoder("".join(LETTERS[field.type.base] for field in fields))
        raw = self._compile(_Encoder(self).text("encode", fields), "encode")

        def encode(value: Sequence[Any]) -> bytes:
            parts: list[bytes] = []
            try:
                raw(value, parts.append)
            except ResultTooLarge:
                raise
            except UNENCODABLE as error:
                raise EncodeError(str(error)) from None
            return b"".join(parts)

        return encode

    def reader(self, base: str) -> str:
        """Return the name of the function that decodes a structure or union."""
        return self._structure("read_s_" + base, base, reading=True)

    def writer(self, base: str) -> str:
        """Return the name of the function that encodes a structure or union."""
        return self._structure("write_s_" + base, base, reading=False)

    @property
    def source(self) -> Source:
        """The table whose types these are."""
        return self._source

    def packer(self, letters: str) -> str:
        """Return the name of a `struct.Struct` for format characters."""
        name = "S_" + letters.replace("16s", "u")
        self._names.setdefault(name, struct.Struct(">" + letters))
        return name

    def _structure(self, name: str, base: str, *, reading: bool) -> str:
        if name not in self._names:
            self._names[name] = None  # no type of the protocol holds itself
            if base in self._source.unions:
                cases = self._source.unions[base]
                text = (
                    _union_reader(self, name, cases)
                    if reading
                    else _union_writer(self, name, cases)
                )
            else:
                kind = "".join(word.capitalize() for word in base.split("_"))
                self._names[kind] = getattr(values, kind)
                fields = self._source.structs[base]
                text = (
                    _Decoder(self).text(name, fields, kind)
                    if reading
                    else _Encoder(self).text(name, fields)
                )
            self._names[name] = self._compile(text, name)
        return name

    def _compile(self, text: str, name: str) -> Callable[..., Any]:
        namespace: dict[str, Any] = {}
        exec(compile(text, f"<codec {name}>", "exec"), self._names, namespace)
        function: Callable[..., Any] = namespace[name]
        return function


def _letter(kind: Type) -> str | None:
    """Return the format character of a plain number or uuid; None for other types."""
    if kind.optional or kind.limit is not None:
        return None
    return "16s" if kind.base == "uuid" else LETTERS.get(kind.base)


def _is_wide(kind: Type) -> bool:
    """Return whether every value that `struct` packs as the type is one of the type's."""
    return _letter(kind) in LETTERS.values() and kind.base not in NARROW


def _number_encoder(letters: str) -> Encode:
    """Return the function that encodes numbers alone: `struct` does all of it."""
    pack = struct.Struct(">" + letters).pack

    def encode(value: Sequence[Any]) -> bytes:
        try:
            return pack(*value)
        except UNENCODABLE as error:
            raise EncodeError(str(error)) from None

    return encode


def _runs(fields: tuple[Field, ...]) -> list[list[int]]:
    """Group the indexes of adjacent numbers; other fields are groups of one."""
    runs: list[list[int]] = []
    for place, field in enumerate(fields):
        plain = _letter(field.type) is not None
        if plain and runs and _letter(fields[runs[-1][-1]].type) is not None:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _limits(check: str, run: list[int], fields: tuple[Field, ...]) -> list[str]:
    """Return the checks of numbers whose types have less than four bytes."""
    bases = [(place, fields[place].type.base) for place in run]
    return [
        f"{check}(v{place}, {NARROW[b][0]}, {NARROW[b][1]})" for place, b in bases if b in NARROW
    ]


class _Decoder:
    """Writes the source of a function `(data, at) -> (value, at)`."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler

    def text(self, name: str, fields: tuple[Field, ...], kind: str) -> str:
        lines = [f"def {name}(data, at):"]
        for run in _runs(fields):
            if _letter(fields[run[0]].type) is None:
                lines += self._one(f"v{run[0]}", fields[run[0]].type)
            else:
                lines += self._numbers(run, fields)
        values = "".join(f"v{place}, " for place in range(len(fields)))
        result = f"({values})" if kind == "tuple" else f"{kind}({values})"
        return "\n    ".join([*lines, f"return {result}, at"]) + "\n"

    def _numbers(self, run: list[int], fields: tuple[Field, ...]) -> list[str]:
        letters = "".join(_letter(fields[place].type) or "" for place in run)
        packer = self._compiler.packer(letters)
        names = "".join(f"v{place}, " for place in run)
        return [
            f"{names}= {packer}.unpack_from(data, at)",
            f"at += {struct.calcsize('>' + letters)}",
            *_limits("narrow", run, fields),
        ]

    def _one(self, name: str, kind: Type) -> list[str]:
        if kind.optional:
            inner = self._one(name, Type(kind.base, limit=kind.limit, fixed=kind.fixed))
            return [
                "there, = U32.unpack_from(data, at); at += 4",
                "if there:",
                *(f"    {line}" for line in inner),
                f"else: {name} = None",
            ]
        if kind.limit is not None:
            return self._array(name, kind)
        if kind.base == "string":
            return [f"{name}, at = read_string(data, at)"]
        letter = _letter(kind)
        if letter is not None:
            size = struct.calcsize(">" + letter)
            packer = self._compiler.packer(letter)
            return [f"{name}, = {packer}.unpack_from(data, at); at += {size}"]
        return [f"{name}, at = {self._compiler.reader(kind.base)}(data, at)"]

    def _array(self, name: str, kind: Type) -> list[str]:
        limit = kind.limit
        if kind.base == "opaque":
            return [f"{name}, at = read_{'fixed' if kind.fixed else 'opaque'}(data, at, {limit})"]
        if kind.base == "char":
            return [f"{name}, at = read_chars(data, at, {limit}, fixed={kind.fixed})"]
        element = Type(kind.base)
        least = least_size(self._compiler.source, element)
        count = (
            [f"count = {limit}"]
            if kind.fixed
            else [f"count, at = read_count(data, at, {limit}, {least})"]
        )
        letter = _letter(element)
        if letter is not None and letter != "16s":
            size = struct.calcsize(">" + letter)
            return [
                *count,
                f"{name} = list(struct.unpack_from(f'>{{count}}{letter}', data, at))",
                f"at += {size} * count",
            ]
        return [
            *count,
            f"{name} = []",
            "for _ in range(count):",
            *(f"    {line}" for line in self._one("item", element)),
            f"    {name}.append(item)",
        ]


class _Encoder:
    """Writes the source of a function `(value, write) -> None`."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler

    def text(self, name: str, fields: tuple[Field, ...]) -> str:
        names = "".join(f"v{place}, " for place in range(len(fields)))
        lines = [f"def {name}(value, write):", f"{names}= value" if names else "() = value"]
        for run in _runs(fields):
            if _letter(fields[run[0]].type) is None:
                lines += self._one(f"v{run[0]}", fields[run[0]].type)
            else:
                lines += self._numbers(run, fields)
        return "\n    ".join(lines) + "\n"

    def _numbers(self, run: list[int], fields: tuple[Field, ...]) -> list[str]:
        letters = "".join(_letter(fields[place].type) or "" for place in run)
        lines = _limits("within", run, fields)
        lines += [
            f"write_fixed(v{place}, 16)" for place in run if fields[place].type.base == "uuid"
        ]
        packer = self._compiler.packer(letters)
        names = ", ".join(f"v{place}" for place in run)
        return [*lines, f"write({packer}.pack({names}))"]

    def _one(self, name: str, kind: Type) -> list[str]:
        if kind.optional:
            inner = self._one(name, Type(kind.base, limit=kind.limit, fixed=kind.fixed))
            return [
                f"if {name} is None: write(b'\\0\\0\\0\\0')",
                "else:",
                "    write(b'\\0\\0\\0\\1')",
                *(f"    {line}" for line in inner),
            ]
        if kind.limit is not None:
            return self._array(name, kind)
        if kind.base == "string":
            return [f"write(write_string({name}))"]
        letter = _letter(kind)
        if letter is not None:
            return [f"write({self._compiler.packer(letter)}.pack({name}))"]
        return [f"{self._compiler.writer(kind.base)}({name}, write)"]

    def _array(self, name: str, kind: Type) -> list[str]:
        limit = kind.limit
        if kind.base == "opaque":
            return [f"write(write_{'fixed' if kind.fixed else 'opaque'}({name}, {limit}))"]
        if kind.base == "char":
            return [f"write(write_chars({name}, {limit}, fixed={kind.fixed}))"]
        element = Type(kind.base)
        count = (
            [f"if len({name}) != {limit}: raise EncodeError('not {limit} elements')"]
            if kind.fixed
            else [f"write(write_count({name}, {limit}))"]
        )
        letter = _letter(element)
        if letter is not None and letter != "16s":
            return [*count, f"write(struct.pack(f'>{{len({name})}}{letter}', *{name}))"]
        return [
            *count,
            f"for item in {name}:",
            *(f"    {line}" for line in self._one("item", element)),
        ]


def _union_reader(compiler: Compiler, name: str, cases: dict[int, Type]) -> str:
    lines = [f"def {name}(data, at):", "kind, = U32.unpack_from(data, at); at += 4"]
    decoder = _Decoder(compiler)
    for number, kind in cases.items():
        inner = decoder._one("value", kind)
        lines += [f"if kind == {number}:", *(f"    {line}" for line in inner)]
        lines += ["    return TypedValue(kind, value), at"]
    lines.append("raise DecodeError(f'the union has no case {kind}')")
    return "\n    ".join(lines) + "\n"


def _union_writer(compiler: Compiler, name: str, cases: dict[int, Type]) -> str:
    lines = [f"def {name}(value, write):", "kind, held = value"]
    encoder = _Encoder(compiler)
    for number, case in cases.items():
        inner = encoder._one("held", case)
        lines += [f"if kind == {number}:", f"    write(U32.pack({number}))"]
        lines += [*(f"    {line}" for line in inner), "    return"]
    lines.append("raise EncodeError(f'the union has no case {kind}')")
    return "\n    ".join(lines) + "\n"
