"""Typed parameters made and read."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.param_types import FIELDS
from rpc.params import (
    Boolean,
    Double,
    Int,
    LLong,
    ParamType,
    String,
    UInt,
    ULLong,
    declared,
    param_type,
    params,
    read_params,
    typed,
)
from rpc.table import load
from rpc.values import TypedParam, TypedValue
from tests.paths import SHARED

#: The facts are not part of the repository; where they are not at hand the module stands alone.
FACTS: Final = SHARED / "protocol"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="no ../shared/protocol to compare with")

ALL: Final = {
    "a": Int(-1), "b": UInt(2**32 - 1), "c": LLong(-(2**63)), "d": ULLong(2**64 - 1),
    "e": Double(0.5), "f": Boolean(True), "g": String("words"),
}  # fmt: skip


def test_every_parameter_type_is_encoded_and_decoded() -> None:
    made = params(ALL)
    assert [param.value.type for param in made] == list(ParamType)
    get = load().named("domain_get_perf_events")
    assert get.decode_ret(get.encode_ret(made)) == made


def test_values_get_the_types_that_libvirt_gives_their_fields() -> None:
    made = typed({"state.state": 1, "block.12.path": "/x", "net.0.rx.bytes": 5, "cpu.user": None})
    assert made == [
        TypedParam("state.state", TypedValue(ParamType.INT, 1)),
        TypedParam("block.12.path", TypedValue(ParamType.STRING, "/x")),
        TypedParam("net.0.rx.bytes", TypedValue(ParamType.ULLONG, 5)),
    ]


def test_a_number_at_the_end_of_a_field_is_an_index() -> None:
    assert param_type("perf.cmt") is ParamType.ULLONG
    with pytest.raises(KeyError):
        param_type("perf.cmt.0")


@pytest.mark.parametrize(
    ("field", "value"),
    [("vcpu.current", -1), ("vcpu.current", 2**32), ("vcpu.current", "2"), ("block.0.path", 1)],
)
def test_a_value_that_its_field_cannot_hold_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="is not a "):
        typed({field: value})


def test_a_field_longer_than_virtypedparameter_is_refused() -> None:
    assert params({"a" * 79: Int(1)})
    with pytest.raises(ValueError, match="longer than 79 bytes"):
        params({"a" * 80: Int(1)})


ALLOWED: Final = declared("hard_limit", "soft_limit")


def test_parameters_are_read_in_any_order() -> None:
    given = params({"soft_limit": ULLong(1), "hard_limit": ULLong(2)})
    assert read_params(given, ALLOWED) == {"soft_limit": [1], "hard_limit": [2]}
    assert read_params([], ALLOWED) == {}


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (
            params({"other": ULLong(1)}),
            ErrorCode.ARGUMENT_UNSUPPORTED,
            "parameter 'other' not supported; this call takes: hard_limit, soft_limit",
        ),
        (
            params({"hard_limit": Int(1)}),
            ErrorCode.INVALID_ARG,
            "invalid type 'int' for parameter 'hard_limit', expected 'ullong'",
        ),
        (
            [*params({"hard_limit": ULLong(1)}), *params({"hard_limit": ULLong(1)})],
            ErrorCode.INVALID_ARG,
            "parameter 'hard_limit' occurs multiple times",
        ),
    ],
)
def test_a_parameter_that_a_call_does_not_take_is_refused(
    given: list[TypedParam], code: ErrorCode, says: str
) -> None:
    with pytest.raises(VirError, match=says) as refused:
        read_params(given, ALLOWED)
    assert refused.value.code is code


def test_a_repeated_field_gives_all_its_values() -> None:
    given = [*params({"migrate_disks": String("vda")}), *params({"migrate_disks": String("vdb")})]
    allowed = declared("migrate_disks")
    assert read_params(given, allowed, repeatable={"migrate_disks"}) == {
        "migrate_disks": ["vda", "vdb"]
    }


@needs_facts
def test_types_are_those_of_the_facts() -> None:
    named = json.loads((FACTS / "typed_params.json").read_text()).values()
    wanted = {
        entry["field"]: entry["type"]
        for entry in named
        if entry["type"] and "admin" not in entry["header"]
    }
    for fields in json.loads((FACTS / "stats_fields.json").read_text()).values():
        wanted |= fields
    assert {field: kind.name.lower() for field, kind in FIELDS.items()} == wanted
