"""id= of a domain: a number as C's strtol reads it; anything else is none, and no error."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("010", 10), (" 7", 7), ("7 ", None), ("1_0", None), ("٣", None), ("0x10", None)],
)
def test_an_id_is_decimal_and_another_is_none(text: str, number: int | None) -> None:
    domain = parse_domain(
        f"<domain type='qemu' id='{text}'><name>d</name><memory>1</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    assert domain.id == number
