"""The tables against the facts that they were written from, and the notation's own rules."""

from __future__ import annotations

import json
import re
from typing import Any, Final, get_type_hints

import pytest

from rpc import table_syntax, values
from rpc.features import Feature
from rpc.table import EventId, Procedure, load
from rpc.table_syntax import Field, NotationError, Source, Type
from rpc.values import TypedValue
from tests.paths import SHARED

#: The facts are not part of the repository; where they are not at hand the tables stand alone.
FACTS: Final = SHARED / "protocol"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="no ../shared/protocol to compare with")

NUMBERS: Final = {
    "int": "i32", "uint": "u32", "hyper": "i64", "uhyper": "u64", "short": "i16", "ushort": "u16",
    "char": "char", "uchar": "u8", "double": "f64", "string": "string", "opaque": "opaque",
}  # fmt: skip


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FACTS / f"{name}.json").read_text())
    return found


class Facts:
    """One program's types as the facts say them, flattened to what goes over the wire."""

    def __init__(self, name: str) -> None:
        remote, own = facts("remote"), facts(name)
        self.types = {**remote["types"], **own["types"]}
        self.constants = {
            **remote["constants"], **remote["external_constants"],
            **own.get("constants", {}), **own.get("external_constants", {}),
        }  # fmt: skip
        self.procedures = own["procedures"]

    def fields(self, name: str | None) -> list[object]:
        return [self.wire(field) for field in self.types[name]["fields"]] if name else []

    def wire(self, field: dict[str, Any]) -> object:
        """The field as nested tuples: ("optional", …), ("array", fixed, limit, …), base, list."""
        inner = self.base(field)
        if field["array"] != "none":
            limit = field["max"]
            number = self.constants[limit] if isinstance(limit, str) else limit
            inner = ("array", field["array"] == "fixed", number, inner)
        return ("optional", inner) if field["optional"] else inner

    def base(self, field: dict[str, Any]) -> object:
        kind = field["type"]
        if kind in NUMBERS:
            return NUMBERS[kind]
        found = self.types[kind]
        if found["kind"] == "typedef":
            return self.wire(found)
        if found["kind"] == "enum":
            return "i32"
        if found["kind"] == "union":
            cases = [(case["value"], self.wire(case["field"])) for case in found["cases"]]
            return ["union", *((self.number(value), wire) for value, wire in cases)]
        return self.fields(kind)

    def number(self, value: int | str) -> int:
        found: int = self.constants[value] if isinstance(value, str) else value
        return found


def flat(source: Source, kind: Type) -> object:
    """A type of the table in the same form."""
    inner: object = kind.base
    if kind.base == "uuid":
        inner = ("array", True, 16, "opaque")
    elif kind.base in source.structs:
        inner = [flat(source, field.type) for field in source.structs[kind.base]]
    elif kind.base in source.unions:
        inner = [
            "union",
            *((n, flat(source, case)) for n, case in source.unions[kind.base].items()),
        ]
    if kind.limit is not None:
        inner = ("array", kind.fixed, kind.limit, inner)
    return ("optional", inner) if kind.optional else inner


def plain(name: str) -> str:
    return name.replace("_", "").lower()


def pairs(name: str) -> list[tuple[Procedure, dict[str, Any], Facts]]:
    """Each procedure of a program beside its fact."""
    program = next(p for p in load().programs.values() if p.name == name)
    known = Facts(name)
    assert len(known.procedures) == len(program.procedures)
    return [(program.procedures[fact["number"]], fact, known) for fact in known.procedures]


PROGRAMS: Final = ("remote", "qemu", "lxc", "keepalive")


def test_all_443_remote_procedures_are_there() -> None:
    assert sorted(load().programs[0x20008086].procedures) == list(range(1, 444))


@needs_facts
@pytest.mark.parametrize("name", PROGRAMS)
def test_each_procedure_has_its_number_name_kind_and_stream(name: str) -> None:
    for procedure, fact, _ in pairs(name):
        assert procedure.name == fact["name"].lower()
        assert procedure.kind == fact["kind"], procedure.name
        assert procedure.stream == fact["stream"], procedure.name
        assert bool(procedure.sparse_flag) == bool(fact["sparse_flag"]), procedure.name
        assert procedure.high_priority == (procedure.kind == "call" and fact["priority"] == "high")


@needs_facts
@pytest.mark.parametrize("name", PROGRAMS)
def test_each_procedure_has_the_types_and_limits_of_the_facts(name: str) -> None:
    for procedure, fact, known in pairs(name):
        source = procedure.compiler.source
        for fields, of in ((procedure.args, "args"), (procedure.ret, "ret")):
            assert [flat(source, field.type) for field in fields] == known.fields(fact[of]), (
                f"{procedure.name} {of}"
            )
            wanted = [plain(f["name"]) for f in known.types[fact[of]]["fields"]] if fact[of] else []
            assert [plain(field.name) for field in fields] == wanted


@needs_facts
@pytest.mark.parametrize("name", ["remote", "qemu", "lxc"])
def test_each_call_is_open_to_read_only_clients_as_the_facts_say(name: str) -> None:
    readonly = facts("readonly")
    for procedure, fact, _ in pairs(name):
        said = readonly["procedures"][name][fact["name"]]
        if procedure.kind == "event":
            continue
        assert procedure.read_only == bool(said["ro"]), procedure.name
        assert procedure.ro_denied_flags == sum(said.get("ro_denied_flags", {}).values())
        denied = said.get("ro_denied_values", {})
        assert procedure.ro_denied_values == {
            field: tuple(words.values()) for field, words in denied.items()
        }
        if "denied_by" in said:
            assert procedure.api == said["denied_by"]
            assert procedure.error_domain == said["error_domain"]
        early = name == "remote" and fact["name"] in readonly["before_auth"]
        assert procedure.before_auth == early


@needs_facts
def test_each_event_of_the_facts_has_its_message() -> None:
    events = facts("events")
    remote = load().programs[0x20008086]
    for family in ("domain", "network", "storage_pool", "node_device", "secret"):
        for event in events[family]:
            message = remote.procedures[event["number"]]
            assert (message.name, message.kind) == (event["message"].lower(), "event")
            assert message.has_callback_id
            event_id = EventId(family, event["id"])
            assert message.event == event_id
            assert load().event(event_id) is message
            legacy = load().event(event_id, legacy=True)
            assert (legacy.number if legacy else None) == event["legacy_number"]


def test_calls_before_connect_open_are_those_that_libvirt_answers() -> None:
    procedures = list(load().procedures())
    assert {p.name for p in procedures if p.before_open} == {
        "connect_open", "connect_close", "auth_list", "auth_polkit",
        "auth_sasl_init", "auth_sasl_start", "auth_sasl_step",
        "admin_connect_open", "admin_connect_close",
    }  # fmt: skip
    assert {p.name: p.before_open_values for p in procedures if p.before_open_values} == {
        "connect_supports_feature": {"feature": (Feature.PROGRAM_KEEPALIVE,)}
    }


def test_a_call_that_fills_a_volume_is_long() -> None:
    assert load().named("storage_vol_wipe").long
    assert not load().named("domain_suspend").long


def python_type(kind: Type, source: Source) -> str:
    if kind.limit is not None and kind.base in ("opaque", "char"):
        found = "bytes"
    else:
        found = {"string": "str", "uuid": "bytes", "opaque": "bytes", "f64": "float"}.get(
            kind.base, "int"
        )
        if kind.base in source.structs or kind.base in source.unions:
            found = "".join(w.capitalize() for w in kind.base.split("_"))
            found = "TypedValue" if kind.base in source.unions else found
        if kind.limit is not None:
            found = f"list[{found}]"
    return found + (" | None" if kind.optional else "")


def spelled(hint: Any) -> str:
    return re.sub(r"rpc\.values\.", "", hint.__name__ if isinstance(hint, type)
                  and not hasattr(hint, "__args__") else str(hint))  # fmt: skip


def test_each_structure_is_a_value_with_the_same_fields() -> None:
    source = load().named("connect_open").compiler.source
    admin = load().named("admin_connect_open").compiler.source
    classes = {
        name: made
        for name, made in vars(values).items()
        if isinstance(made, type) and issubclass(made, tuple) and made is not TypedValue
    }
    for name, fields in (source.structs | admin.structs).items():
        made = classes.pop("".join(word.capitalize() for word in name.split("_")))
        hints = get_type_hints(made)
        wanted = {field.name: python_type(field.type, admin) for field in fields}
        assert {field: spelled(hint) for field, hint in hints.items()} == wanted, name
    assert not classes


HEAD: Final = "program t 0x10 version 1\n"


def test_a_table_is_parsed() -> None:
    source = table_syntax.read(
        HEAD + "# comment\nconst most = 3\nunion u (1: i32, 2: string)\nstruct s (a: u, b: uuid?)\n"
        "1 first (x: s[most], y: char[=4]) -> (z: i64)  owner=domd ro api=virFirst\n"
        "2 event second (callback_id: i32)  event=domain:7\n",
        "t.table",
    )
    assert (source.name, source.number, source.version) == ("t", 16, 1)
    first, second = source.lines
    assert first.args == (
        Field("x", Type("s", limit=3)),
        Field("y", Type("char", limit=4, fixed=True)),
    )
    assert first.marks == {"owner": "domd", "ro": "", "api": "virFirst"}
    assert (second.kind, second.name) == ("event", "second")
    assert second.marks == {"event": "domain:7"}
    assert source.structs["s"][1].type == Type("uuid", optional=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 a (x: i32", "neither a procedure"),
        ("nonsense", "neither a procedure"),
        ("1 a (x: i33) -> ()", "no such type: i33"),
        ("1 a (x: later) -> ()", "no such type: later"),
        ("1 a (x) -> ()", "a field without a type"),
        ("1 a (x: i32[no_such_max]) -> ()", "no_such_max"),
        ("1 a (x: i32!) -> ()", "no type"),
        ("1 a () -> ()  owned=domd", "no such mark: 'owned=domd'"),
        ("2 a () -> ()", "a is number 2, not 1"),
        ("1 a () -> ()\n2 a () -> ()", "a is defined twice"),
        ("struct s (x: s)", "no such type: s"),
    ],
)
def test_an_invalid_line_is_reported_with_file_and_number(line: str, says: str) -> None:
    last = 2 + line.count("\n")
    with pytest.raises(NotationError, match=rf"^t\.table:{last}: ") as refused:
        table_syntax.read(HEAD + line, "t.table")
    assert says in str(refused.value)
