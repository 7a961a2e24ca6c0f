"""How values are written on QEMU's command line.

Owns: the three syntaxes: `a=b,c=d` with doubled commas, JSON, and QEMU's ranges.
May touch: values only.
May not touch: the domain model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

NULL: Final = msgspec.Raw(b"null")  # None leaves a member out
Scalar = msgspec.Raw | str | int | bool | float
Json = Scalar | Sequence["Json"] | Mapping[str, "Json"]
Option = str | int | bool | None


def json(**members: Json | None) -> str:
    """One JSON object; members that are None are left out, `_` in a name stands for `-`.

    Names that QEMU spells with `_` are given through `json_of`.
    """
    return json_of({name.replace("_", "-"): value for name, value in members.items()})


def json_of(members: Mapping[str, Json | None]) -> str:
    """One JSON object in the order given; members that are None are left out."""
    present = {name: value for name, value in members.items() if value is not None}
    return msgspec.json.encode(present).decode()


def comma(text: str) -> str:
    """A value inside `a=b,c=d`: its commas are doubled."""
    return text.replace(",", ",,")


def options(*head: str, **members: Option) -> str:
    """`head,name=value,…`: True is on, False is off, None is left out; `_` stands for `-`."""
    return options_of(head, {name.replace("_", "-"): value for name, value in members.items()})


def options_of(head: Iterable[str], members: Mapping[str, Option]) -> str:
    """The same, with names as they are."""
    parts = list(head)
    for name, value in members.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "on" if value else "off"
        parts.append(f"{name}={comma(str(value))}")
    return ",".join(parts)


def on_off(value: bool) -> str:  # noqa: FBT001
    """QEMU's words for a switch."""
    return "on" if value else "off"


def ranges(numbers: Iterable[int]) -> list[str]:
    """`{0,1,2,5}` as ["0-2", "5"]."""
    result: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for position, number in enumerate(ordered):
        if position + 1 < len(ordered) and ordered[position + 1] == number + 1:
            continue
        first = ordered[start]
        result.append(str(first) if first == number else f"{first}-{number}")
        start = position + 1
    return result
