"""What a read-only client is refused: every procedure, flag and value, against the facts."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from rpc import table as wire_table
from rpc.errors import ErrorCode, VirError
from rpc.table import Procedure
from supervisor.rpcd.auth.access import check_authenticated, check_read_only
from tests.paths import SHARED

FACTS: Final = SHARED / "protocol/readonly.json"
PROGRAMS: Final = ("remote", "qemu", "lxc")

pytestmark = pytest.mark.skipif(
    not FACTS.exists(), reason=f"{FACTS}, which says what stock refuses, is not on this machine"
)


def facts() -> dict[str, Any]:
    """The facts as they stand on disk."""
    read: dict[str, Any] = json.loads(FACTS.read_text())
    return read


def calls() -> list[tuple[Procedure, dict[str, Any]]]:
    """Every call of the table with its facts; messages to the client are none."""
    known = {
        (program, name.lower()): fact
        for program, entries in facts()["procedures"].items()
        for name, fact in entries.items()
    }
    table = {
        (program.name, procedure.name): procedure
        for program in wire_table.load().programs.values()
        if program.name in PROGRAMS
        for procedure in program.procedures.values()
    }
    assert set(known) == set(table)
    return [(table[key], fact) for key, fact in known.items() if fact["ro"] is not None]


def refusal(procedure: Procedure, given: dict[str, int]) -> VirError | None:
    """How a read-only client is refused a call whose other numbers are 0."""
    arguments = tuple(given.get(field.name, 0) for field in procedure.args)
    try:
        check_read_only(procedure, arguments)
    except VirError as error:
        return error
    return None


def special(fact: dict[str, Any]) -> list[tuple[str, int]]:
    """The flags and values of a permitted call that are refused."""
    flags = [("flags", bit) for bit in fact.get("ro_denied_flags", {}).values()]
    values = fact.get("ro_denied_values", {})
    return flags + [(name, value) for name, named in values.items() for value in named.values()]


def assert_denied(error: VirError | None, fact: dict[str, Any], what: str) -> None:
    """Check code, domain and that the message names the function."""
    assert error is not None, f"{what} is allowed"
    assert error.code == ErrorCode.OPERATION_DENIED == facts()["denied_error_code"], what
    assert error.domain == fact["error_domain"], what
    assert fact["denied_by"] in str(error), what


def test_read_only_clients_are_refused_the_procedures_that_libvirt_refuses() -> None:
    refused = 0
    for procedure, fact in calls():
        error = refusal(procedure, {})
        if fact["ro"]:
            assert error is None, f"{procedure.name} is refused: {error}"
        else:
            refused += 1
            assert_denied(error, fact, procedure.name)
            assert facts()["denied_message"] % fact["denied_by"] in str(error)
    assert refused > 200


def test_read_only_clients_are_refused_flags_and_values_that_show_secrets() -> None:
    seen = 0
    for procedure, fact in calls():
        for name, value in special(fact):
            seen += 1
            assert_denied(refusal(procedure, {name: value}), fact, f"{procedure.name} {name}")
            mixed = value | 1 << 30 if name == "flags" else value
            assert_denied(refusal(procedure, {name: mixed}), fact, f"{procedure.name} {name}")
    assert seen == 7


def test_read_only_clients_may_use_other_flags() -> None:
    for procedure, fact in calls():
        if fact["ro"] and any(field.name == "flags" for field in procedure.args):
            denied = sum(fact["ro_denied_flags"].values())
            error = refusal(procedure, {"flags": 0xFFFFFFFF & ~denied})
            assert error is None, f"{procedure.name}: {error}"


def test_only_authentication_calls_are_allowed_before_authentication() -> None:
    early = {name.lower() for name in facts()["before_auth"]}
    for procedure, _ in calls():
        if procedure.name in early:
            check_authenticated(procedure, authenticated=False)
        else:
            with pytest.raises(VirError) as caught:
                check_authenticated(procedure, authenticated=False)
            assert caught.value.code == ErrorCode.RPC
