"""Firewall programs: deadline, failure, missing program."""

from __future__ import annotations

import asyncio
import time

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.netd.firewall.commands import run, run_ok


def test_hung_program_is_killed_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(VirError, match=r"'sleep' did not end in 0\.2 s") as refused:
        asyncio.run(run(["sleep", "60"], deadline_s=0.2))
    assert refused.value.code is ErrorCode.OPERATION_TIMEOUT
    assert time.monotonic() - began < 10


def test_failure_message_has_the_programs_output() -> None:
    with pytest.raises(VirError, match="No such file or directory") as refused:
        asyncio.run(run_ok(["ls", "/does/not/exist"]))
    assert refused.value.code is ErrorCode.INTERNAL_ERROR


def test_missing_program_is_named() -> None:
    with pytest.raises(VirError, match="cannot execute no-such-program"):
        asyncio.run(run(["no-such-program"]))


def test_stdin_is_passed() -> None:
    assert asyncio.run(run_ok(["cat"], stdin="*filter\nCOMMIT\n")) == "*filter\nCOMMIT\n"
