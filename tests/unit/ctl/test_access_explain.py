"""virtvisorctl access explain: who is meant, which call, and how the answer reads."""

from __future__ import annotations

import argparse
import os

import pytest

from supervisor.ctl.access_explain import (
    REFUSED,
    UnknownNameError,
    exit_status,
    find_call,
    find_user,
    format_explanation,
)
from supervisor.messages.calls import AccessExplanation, ExplainedPermission, Identity


def test_a_user_is_one_of_the_host_or_a_name_by_sasl_or_certificate() -> None:
    root = find_user("root")
    assert (root.uid, root.gid) == (0, 0)
    assert set(os.getgrouplist("root", 0)) == set(root.groups)
    assert find_user("4711") == Identity(uid=4711)
    assert find_user("sasl:bob@EXAMPLE.ORG") == Identity(sasl_name="bob@EXAMPLE.ORG")
    assert find_user("dn:CN=a,O=b") == Identity(tls_dn="CN=a,O=b")
    with pytest.raises(UnknownNameError, match="no user 'nobody-of-this-name'"):
        find_user("nobody-of-this-name")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("virDomainCreate", ("domain_create", "", "domd")),
        ("domain_screenshot", ("domain_screenshot", "", "domd")),
        ("connect_open", ("connect_open", "", "hostd")),
        ("storage_vol.read", ("", "storage_vol.read", "stord")),
        ("nwfilter_binding.create", ("", "nwfilter_binding.create", "netd")),
        ("secret.read_secure", ("", "secret.read_secure", "hostd")),
    ],
)
def test_a_call_or_a_permission_is_asked_of_its_owner(
    text: str, found: tuple[str, str, str]
) -> None:
    assert find_call(text) == found


def test_an_unknown_call_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no call or permission 'domain\.strat'"):
        find_call("domain.strat")


def test_the_answer_has_a_line_for_each_permission_and_fails_where_one_is_refused() -> None:
    permissions = [
        ExplainedPermission(permission="domain.write", allowed=True, reasons=["roles.conf:3: x"]),
        ExplainedPermission(permission="domain.save", when="with flags 0x2", allowed=False),
    ]
    answer = AccessExplanation(object="domain 'web'", exists=False, permissions=permissions)
    options = argparse.Namespace(user="alice", call="virDomainSetMemory")
    assert format_explanation(options, answer).splitlines() == [
        "alice, virDomainSetMemory, domain 'web' (there is none: it is judged by its name)",
        "  domain.write: allowed",
        "    roles.conf:3: x",
        "  domain.save (with flags 0x2): refused",
    ]
    assert exit_status(answer) == 0
    refused = ExplainedPermission(permission="domain.write", allowed=False)
    answer = AccessExplanation(object="", exists=True, permissions=[refused])
    assert exit_status(answer) == REFUSED
