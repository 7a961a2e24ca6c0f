"""The first value that stands twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conf.types.repeats import first_repeated


@given(st.lists(st.integers(0, 5)))
def test_the_first_value_with_an_equal_one_is_found(values: list[int]) -> None:
    expected = next((value for value in values if values.count(value) > 1), None)
    assert first_repeated(values) == expected


def test_none_of_many_different_values_is_found() -> None:
    assert first_repeated(range(100_000)) is None
