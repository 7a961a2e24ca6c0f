"""Which URIs a daemon answers to."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.rpcd.uri import Target, select_driver


@pytest.mark.parametrize(
    ("name", "session", "uri"),
    [
        ("", False, "qemu:///system"),
        ("", True, "qemu:///session"),
        ("qemu:///system", False, "qemu:///system"),
        ("qemu:///session", False, "qemu:///session"),
        ("qemu:///session", True, "qemu:///session"),
    ],
)
def test_a_served_uri_is_opened(name: str, session: bool, uri: str) -> None:
    assert select_driver(name, session=session) == Target(uri, "qemu")


@pytest.mark.parametrize(
    ("name", "session", "code"),
    [
        ("qemu:///system", True, ErrorCode.INTERNAL_ERROR),
        ("qemu:///elsewhere", False, ErrorCode.INTERNAL_ERROR),
        ("xen:///system", False, ErrorCode.NO_CONNECT),
        ("qemu://host/system", False, ErrorCode.NO_CONNECT),
        ("http://[", False, ErrorCode.NO_CONNECT),
        ("nonsense", False, ErrorCode.NO_CONNECT),
    ],
)
def test_any_other_uri_is_refused(name: str, session: bool, code: ErrorCode) -> None:
    with pytest.raises(VirError) as refused:
        select_driver(name, session=session)
    assert refused.value.code is code
