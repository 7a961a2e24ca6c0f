"""How values are written on QEMU's command line.

Owns: the two syntaxes: `a=b,c=d` with doubled commas, and JSON.
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
    """Encode a JSON object; members that are None are left out, `_` in a name becomes `-`.

    Names that QEMU spells with `_` are written with `json_of`.
    """
    return json_of({name.replace("_", "-"): value for name, value in members.items()})


def json_of(members: Mapping[str, Json | None]) -> str:
    """Encode a JSON object in that order; members that are None are left out."""
    present = {name: value for name, value in members.items() if value is not None}
    return msgspec.json.encode(present).decode()


def comma(text: str) -> str:
    """Escape a value for `a=b,c=d` by doubling its commas."""
    return text.replace(",", ",,")


def options(*head: str, **members: Option) -> str:
    """Write `head,name=value,…`: True is on, False off, None left out; `_` becomes `-`."""
    return options_of(head, {name.replace("_", "-"): value for name, value in members.items()})


def options_of(head: Iterable[str], members: Mapping[str, Option]) -> str:
    """Write options with their members' names unchanged."""
    parts = list(head)
    for name, value in members.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "on" if value else "off"
        parts.append(f"{name}={comma(str(value))}")
    return ",".join(parts)


def on_off(value: bool) -> str:  # noqa: FBT001
    """Write a boolean as QEMU does."""
    return "on" if value else "off"
