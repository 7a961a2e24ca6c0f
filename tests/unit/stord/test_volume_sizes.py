"""Which capacity a volume gets when it is resized."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.enums import StorageVolResizeFlags as Resize
from rpc.errors import ErrorCode, VirError
from supervisor.stord.calls.volume import MAX_BYTES, target_capacity
from supervisor.stord.volume_info import VolumeInfo

VOLUME = VolumeInfo(name="v", key="k", path="/v", capacity=1000, allocation=100)


def test_a_larger_size_needs_no_flag() -> None:
    assert target_capacity(VOLUME, 2000, 0, 0) == 2000


def test_a_difference_is_added_or_taken_away() -> None:
    assert target_capacity(VOLUME, 500, Resize.DELTA, 0) == 1500
    assert target_capacity(VOLUME, 500, Resize.DELTA | Resize.SHRINK, 0) == 500


@pytest.mark.parametrize(
    ("given_", "flags", "code"),
    [
        (500, 0, ErrorCode.INVALID_ARG),
        (50, Resize.SHRINK, ErrorCode.INVALID_ARG),
        (2000, Resize.ALLOCATE, ErrorCode.OPERATION_FAILED),
        (2**64 - 1, 0, ErrorCode.OVERFLOW),
        (2**63 - 1, Resize.DELTA, ErrorCode.OVERFLOW),
    ],
)
def test_sizes_that_cannot_be_are_refused(given_: int, flags: int, code: ErrorCode) -> None:
    with pytest.raises(VirError) as refused:
        target_capacity(VOLUME, given_, flags, available=10)
    assert refused.value.code is code


@given(st.integers(0, 2**64 - 1), st.integers(0, 7))
def test_a_size_that_is_given_never_cuts_data_off(given_: int, flags: int) -> None:
    try:
        size = target_capacity(VOLUME, given_, flags, available=2**40)
    except VirError:
        return
    assert VOLUME.allocation <= size <= MAX_BYTES
    assert size >= VOLUME.capacity or flags & Resize.SHRINK
