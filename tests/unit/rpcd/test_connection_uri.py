"""Which URIs a daemon answers to."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.rpcd.uri import ConnectTarget, select_driver


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
    assert select_driver(name, session=session) == ConnectTarget(uri, "qemu")


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


@pytest.mark.parametrize("name", ["lxc:///session", "lxc:///elsewhere", "lxc+unix:///session"])
@pytest.mark.parametrize("session", [False, True])
def test_containers_are_not_at_another_path(name: str, session: bool) -> None:
    with pytest.raises(VirError, match="Unexpected LXC URI path") as refused:
        select_driver(name, session=session)
    assert (refused.value.code, refused.value.domain) == (
        ErrorCode.INTERNAL_ERROR,
        ErrorDomain.LXC,
    )


@pytest.mark.parametrize("name", ["lxc:///", "lxc:///system"])
def test_a_users_daemon_has_no_containers(name: str) -> None:
    with pytest.raises(VirError, match="not active") as refused:
        select_driver(name, session=True)
    assert refused.value.code is ErrorCode.INTERNAL_ERROR
