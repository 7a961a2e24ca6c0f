"""The error factory of services and drivers."""

from __future__ import annotations

import errno

import pytest

from ipc import DeadlineExceeded, PeerGone
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import no_reply
from supervisor.dispatch.service_errors import ServiceErrors

STORAGE = ServiceErrors(ErrorDomain.STORAGE)


def test_unsupported_flags_are_named_with_the_drivers_function() -> None:
    with pytest.raises(VirError) as refused:
        ServiceErrors(ErrorDomain.LXC, "lxc").check_flags("DomainReboot", 0b1101, 0b101)
    assert (refused.value.code, refused.value.domain) == (ErrorCode.INVALID_ARG, ErrorDomain.LXC)
    assert refused.value.detail == "unsupported flags (0x8) in function lxcDomainReboot"


def test_supported_flags_pass() -> None:
    STORAGE.check_flags("storagePoolBuild", 0b101, 0b111)


def test_flags_that_exclude_each_other_are_refused() -> None:
    STORAGE.check_exclusive(0b01, 0b01, 0b10)
    with pytest.raises(VirError, match="mutually exclusive"):
        STORAGE.check_exclusive(0b11, 0b01, 0b10)


def test_a_system_error_carries_the_errno() -> None:
    error = STORAGE.system_error("cannot write 'x'", OSError(errno.ENOSPC, "No space left"))
    assert (error.code, error.ints[0]) == (ErrorCode.SYSTEM_ERROR, errno.ENOSPC)
    assert error.detail == "cannot write 'x': No space left"


def test_an_operation_for_root_names_the_uri_and_an_alternative() -> None:
    error = STORAGE.needs_system_daemon("starting it", "use a 'dir' pool")
    assert error.code == ErrorCode.OPERATION_DENIED
    assert "qemu:///system, or use a 'dir' pool in qemu:///session" in error.detail


def test_a_process_without_reply_is_a_timeout_or_is_lost() -> None:
    late = no_reply("domd", "domain_create", DeadlineExceeded("5 s"))
    assert (late.code, late.domain) == (ErrorCode.OPERATION_TIMEOUT, ErrorDomain.RPC)
    lost = no_reply(
        "the worker of 'x'",
        "domain_memory_stats",
        PeerGone("gone"),
        lost=ErrorCode.OPERATION_FAILED,
        domain=ErrorDomain.QEMU,
    )
    assert (lost.code, lost.domain) == (ErrorCode.OPERATION_FAILED, ErrorDomain.QEMU)
