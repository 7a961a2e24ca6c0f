from __future__ import annotations

import re
from typing import Any, Final

import pytest

from rpc.access_table import Permission, load_access, read_access
from rpc.table import Procedure, load
from rpc.table_syntax import NotationError
from tests.unit.rpc.test_wire_table import facts, needs_facts

#: Calls that everybody may make: libvirt's exceptions, before anybody is known or about nothing.
FREE: Final = {
    "connect_close",
    "connect_is_secure",
    "auth_list",
    "auth_polkit",
    "auth_sasl_init",
    "auth_sasl_start",
    "auth_sasl_step",
}
PROGRAMS: Final = {"remote": 0x20008086, "qemu": 0x20008087, "lxc": 0x68000}


def client_calls() -> list[Procedure]:
    tables = load().programs
    return [
        procedure
        for number in PROGRAMS.values()
        for procedure in tables[number].procedures.values()
        if procedure.kind == "call"
    ]


def needed(name: str, *arguments: object) -> list[str]:
    procedure = load().named(name)
    return [str(p) for p in load_access().of(procedure).required(procedure, arguments)]


def test_each_call_of_the_protocol_needs_a_permission_or_is_one_of_libvirts_exceptions() -> None:
    calls = load_access().calls
    assert set(calls) == {procedure.name for procedure in client_calls()}
    assert {name for name, access in calls.items() if not access.rules} == FREE


@needs_facts
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_call_needs_what_the_facts_say(program: str) -> None:
    values = flag_values(facts("enums"))

    def plain(rule: str) -> str:
        parts = rule.split(":")
        text = parts[0] if parts == ["none"] else f"{parts[0]}.{parts[1]}"
        if len(parts) == 5 or (len(parts) == 4 and not parts[2]):
            return f"{text}:{parts[-2]}={values[parts[-1]]}"
        if len(parts) == 3:
            bits = sum(values[flag] for flag in parts[2].lstrip("!").split("|"))
            return f"{text}:{'!' if parts[2].startswith('!') else ''}{bits:#x}"
        return text

    for fact in facts(program)["procedures"]:
        if fact["kind"] != "call":
            continue
        access = load_access().calls[fact["name"].lower()]
        rules = [
            str(rule.permission)
            + (f":{'!' if rule.unless else ''}{rule.flags:#x}" if rule.flags else "")
            + (f":{rule.argument}={rule.value}" if rule.argument else "")
            for rule in access.rules
        ]
        assert (rules or ["none"]) == [plain(rule) for rule in fact["acl"]], fact["name"]
        listed = [] if access.filter is None else [str(access.filter)]
        assert listed == [plain(rule) for rule in fact["acl_filter"]], fact["name"]


def flag_values(enums: Any) -> dict[str, int]:
    found = {}
    if isinstance(enums, dict):
        for name, value in enums.items():
            if isinstance(value, int) and re.fullmatch("VIR_[A-Z0-9_]+", name):
                found[name] = value
            else:
                found |= flag_values(value)
    return found


def test_flags_decide_whether_a_change_is_saved_and_needs_the_permission() -> None:
    domain = object()
    assert needed("domain_set_memory_flags", domain, 1, 0) == ["domain.write", "domain.save"]
    assert needed("domain_set_memory_flags", domain, 1, 1) == ["domain.write"]
    assert needed("domain_set_memory_flags", domain, 1, 2) == ["domain.write", "domain.save"]
    assert needed("domain_set_memory_flags", domain, 1, 3) == ["domain.write", "domain.save"]


def test_secrets_of_a_document_need_more_than_the_document() -> None:
    assert needed("domain_get_xml_desc", object(), 0) == ["domain.read"]
    assert needed("domain_get_xml_desc", object(), 1) == ["domain.read", "domain.read_secure"]
    assert needed("domain_get_xml_desc", object(), 9) == ["domain.read", "domain.read_secure"]


def test_an_argument_decides_where_flags_do_not() -> None:
    assert needed("domain_interface_addresses", object(), 0, 0) == ["domain.read"]
    assert needed("domain_interface_addresses", object(), 1, 0) == ["domain.read", "domain.write"]


def test_reading_is_everybodys_by_default_and_changing_is_not() -> None:
    permissions = load_access().permissions
    assert permissions[Permission("domain", "getattr")]
    assert not permissions[Permission("domain", "write")]
    assert not permissions[Permission("domain", "read_secure")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("domain_create: domain.strat", "t:2: no such permission: domain.strat"),
        ("domain_create", "t:2: no line of the notation"),
        ("a: domain.start connect.read", "t:2: no such permission: connect.read"),
        ("a: domain.start:3", "t:2: no permission: 'domain.start:3'"),
    ],
)
def test_a_mistake_in_the_table_is_named(line: str, message: str) -> None:
    with pytest.raises(NotationError, match=f"^{re.escape(message)}$"):
        read_access(f"object domain: start\n{line}\n", "t")
