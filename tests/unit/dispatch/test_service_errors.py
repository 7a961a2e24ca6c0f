"""The error factory of services and drivers."""

from __future__ import annotations

import errno

import pytest

from ipc import DeadlineExceeded, PeerGone
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.xdr import EncodeError, ResultTooLarge
from supervisor.dispatch.errors import no_reply, to_vir_error
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


def test_a_system_error_of_a_wait_says_so() -> None:
    error = STORAGE.system_error("cannot read the host's routes", TimeoutError())
    assert error.detail == "cannot read the host's routes: no answer in time"


def test_a_system_error_names_the_file_that_is_to_blame() -> None:
    full = OSError(errno.ENOSPC, "No space left", "/run/libvirt/storage/p.xml")
    error = STORAGE.system_error("cannot start pool 'p'", full)
    assert error.detail == "cannot start pool 'p': '/run/libvirt/storage/p.xml': No space left"
    assert STORAGE.system_error("cannot write '/run/libvirt/storage/p.xml'", full).detail == (
        "cannot write '/run/libvirt/storage/p.xml': No space left"
    )


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left", "/run/x"), ErrorCode.SYSTEM_ERROR, "'/run/x'"),
        (ResultTooLarge("a string"), ErrorCode.RPC, "Unable to encode message payload: a string"),
        (EncodeError("a string with a NUL"), ErrorCode.INTERNAL_ERROR, "unexpected exception"),
        (OSError("no file"), ErrorCode.INTERNAL_ERROR, "unexpected exception"),
        (TimeoutError(), ErrorCode.OPERATION_TIMEOUT, "not done in time"),
    ],
)
def test_what_a_client_gets_for_an_exception(error: Exception, code: ErrorCode, text: str) -> None:
    sent = to_vir_error("domain_create", error)
    assert sent.code is code
    assert text in sent.detail


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
