"""The syntax of libvirtd.conf and qemu.conf: `key = value`, one a line.

Owns: reading and writing that syntax. May not touch: files, or what keys mean.
Source: the files that Debian's libvirt 9.0 installs.

A value is a number, a string in double or single quotes, or a list in brackets, which may go over
several lines. `#` begins a comment outside a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from conf.errors import ConfError

Value = int | str | list[str]

MAX_SIZE: Final = 1024 * 1024  # bytes of one file
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_STRING: Final = re.compile(r'"([^"\n]*)"|\'([^\'\n]*)\'')
_END: Final = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")


class _Reader:
    """Walks through one file."""

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self.origin = origin
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def syntax_error(self, expected: str) -> ConfError:
        seen = self.text[self.at : self.at + 20].split("\n")[0]
        where = f"{self.origin}:{self.line()}"
        return ConfError("conf_syntax", f"{where}: expecting {expected}, not '{seen}'", where)


def parse(data: bytes | str, origin: str) -> dict[str, tuple[Value, int]]:
    """Parse a file into the value and line number of each key.

    Raises:
        ConfError: kind "conf_syntax", naming file and line.
    """
    reader = _Reader(_decode(data, origin), origin)
    settings: dict[str, tuple[Value, int]] = {}
    while True:
        reader.take(_SPACE)
        if reader.at == len(reader.text):
            return settings
        line = reader.line()
        key = reader.take(_KEY)
        if key is None:
            raise reader.syntax_error("a name")
        reader.take(_BLANK)
        if not reader.text.startswith("=", reader.at):
            raise reader.syntax_error("an assignment '='")
        reader.at += 1
        reader.take(_BLANK)
        settings[key[0]] = (_value(reader), line)
        if reader.take(_END) is None:
            raise reader.syntax_error("the end of the line")


def write(settings: Mapping[str, Value]) -> str:
    """Write settings so that `parse` reads them again.

    Raises:
        ConfError: kind "conf_syntax" for a string that the syntax cannot hold.
    """
    return "".join(f"{key} = {_format_value(value)}\n" for key, value in settings.items())


def _decode(data: bytes | str, origin: str) -> str:
    if len(data) > MAX_SIZE:
        raise ConfError("conf_syntax", f"{origin} is larger than {MAX_SIZE} bytes", origin)
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfError("conf_syntax", f"{origin} is not UTF-8: {error}", origin) from None


def _value(reader: _Reader) -> Value:
    if reader.text.startswith("[", reader.at):
        reader.at += 1
        return _list(reader)
    if (number := reader.take(_NUMBER)) is not None:
        return int(number[0])
    return _string(reader)


def _list(reader: _Reader) -> list[str]:
    items: list[str] = []
    while True:
        reader.take(_SPACE)
        if reader.text.startswith("]", reader.at):
            reader.at += 1
            return items
        items.append(_string(reader))
        reader.take(_SPACE)
        if reader.text.startswith(",", reader.at):
            reader.at += 1
        elif not reader.text.startswith("]", reader.at):
            raise reader.syntax_error("',' or ']' in a list")


def _string(reader: _Reader) -> str:
    match = reader.take(_STRING)
    if match is None:
        raise reader.syntax_error("a value: a number, a quoted string or a list of strings")
    return match[1] if match[1] is not None else match[2]


def _format_value(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        quote = "'" if '"' in value else '"'
        if quote in value or "\n" in value:
            raise ConfError("conf_syntax", f"a string with both quotes or a line end: {value!r}")
        return f"{quote}{value}{quote}"
    return f"[ {', '.join(_format_value(item) for item in value)} ]"
