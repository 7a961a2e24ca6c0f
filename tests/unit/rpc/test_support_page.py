"""docs/support.md says what the table says."""

from __future__ import annotations

from rpc.support_page import page
from rpc.table import load
from tests.paths import PROJECT

PAGE = PROJECT / "docs" / "support.md"


def test_the_page_is_up_to_date() -> None:
    made = page(load())
    assert PAGE.read_text() == made, "make it again: python -m rpc.support_page > docs/support.md"


def test_every_procedure_and_event_is_on_the_page() -> None:
    made = page(load())
    for procedure in load().procedures():
        assert f"`{procedure.name}`" in made


def test_a_call_without_an_owner_is_listed_as_not_working() -> None:
    made = page(load()).splitlines()
    for procedure in load().procedures():
        if procedure.kind == "call" and procedure.name not in ("ping", "pong"):
            (line,) = (line for line in made if f"| `{procedure.name}` |" in line)
            assert ("**no**" in line) == (procedure.owner is None)
