"""What QEMU's calls refuse before they look for the domain."""

from __future__ import annotations

import pytest

from rpc import table
from rpc.errors import ErrorCode, VirError
from supervisor.drivers.qemu_arguments import ARGUMENT_CHECKS

INVALID, UNSUPPORTED = ErrorCode.INVALID_ARG, ErrorCode.ARGUMENT_UNSUPPORTED


@pytest.mark.parametrize(
    ("name", "good", "bad", "code"),
    [
        ("domain_get_guest_info", (127, 0), (1 << 9, 0), INVALID),
        ("domain_pm_suspend_for_duration", (2, 0, 0), (3, 0, 0), INVALID),
        ("domain_pm_suspend_for_duration", (0, 0, 0), (0, 60, 0), UNSUPPORTED),
        ("domain_set_user_password", ("root", "", 0), (None, "x", 0), INVALID),
        ("domain_set_user_password", ("root", "x", 1), ("root", None, 0), INVALID),
        ("domain_authorized_ssh_keys_set", ("root", [], 0), ("root", [], 1), INVALID),
        ("domain_authorized_ssh_keys_set", ("root", ["k"], 2), ("root", [], 2), INVALID),
        ("domain_fsthaw", ([], 0), (["/"], 0), UNSUPPORTED),
        ("domain_block_resize", ("vda", 1 << 62, 1), ("vda", 1 << 62, 0), ErrorCode.OVERFLOW),
        ("domain_start_dirty_rate_calc", (60, 0), (61, 0), ErrorCode.CONFIG_UNSUPPORTED),
        ("domain_start_dirty_rate_calc", (1, 0), (0, 0), ErrorCode.CONFIG_UNSUPPORTED),
        ("domain_fstrim", (None, 9, 0), ("/", 0, 0), UNSUPPORTED),
    ],
)
def test_bad_arguments_are_refused_and_good_ones_are_not(
    name: str, good: tuple[object, ...], bad: tuple[object, ...], code: ErrorCode
) -> None:
    check = ARGUMENT_CHECKS[name]
    check(*good)
    with pytest.raises(VirError) as refused:
        check(*bad)
    assert refused.value.code is code


def test_each_check_is_of_a_call_that_workers_answer() -> None:
    for name in ARGUMENT_CHECKS:
        assert table.load().named(name).owner == "worker"
