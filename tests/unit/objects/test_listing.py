"""The filter flags of lists."""

from __future__ import annotations

import pytest

from supervisor.objects.listing import ListFilter, either

EVEN, ODD, SMALL, MIDDLE, LARGE = 1, 2, 4, 8, 16
FILTER: ListFilter[int] = ListFilter(
    either(EVEN, ODD, lambda number: number % 2 == 0),
    (
        (SMALL, lambda number: number < 3),
        (MIDDLE, lambda number: 3 <= number < 6),
        (LARGE, lambda number: number >= 6),
    ),
)


@pytest.mark.parametrize(
    ("flags", "selected"),
    [
        (0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (EVEN, [0, 2, 4, 6]),
        (EVEN | ODD, [0, 1, 2, 3, 4, 5, 6, 7]),
        (SMALL | LARGE, [0, 1, 2, 6, 7]),
        (ODD | MIDDLE, [3, 5]),
        (ODD | SMALL | MIDDLE | LARGE, [1, 3, 5, 7]),
    ],
)
def test_flags_of_one_group_are_alternatives_and_groups_add_up(
    flags: int, selected: list[int]
) -> None:
    assert FILTER.select(range(8), flags) == selected


def test_the_filter_knows_every_flag_that_it_supports() -> None:
    assert FILTER.flags == EVEN | ODD | SMALL | MIDDLE | LARGE
