"""Every type of every procedure: round trips, limits, cut and hostile bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc import values
from rpc.codecs import NARROW, Compiler
from rpc.table import DecodeError, EncodeError, load
from rpc.table_syntax import Field, Source, Type
from rpc.values import Domain, TypedParam, TypedValue
from rpc.xdr import MAX_STRING

RANGES: Final = {
    "i32": (-(2**31), 2**31 - 1),
    "u32": (0, 2**32 - 1),
    "i64": (-(2**63), 2**63 - 1),
    "u64": (0, 2**64 - 1),
    **NARROW,
}
LONG: Final = "a" * (MAX_STRING + 1)
WORDS: Final = ("", "a", "vda", "Ünï 鼎", "x" * 61)


class Shape(NamedTuple):
    """A sequence of fields that has codecs: arguments, a result, a message, a structure."""

    name: str
    fields: tuple[Field, ...]
    compiler: Compiler


def shapes() -> Iterator[Shape]:
    """All of them, of all programs; a structure's own once."""
    for procedure in load().procedures():
        compiler = procedure.compiler
        yield Shape(f"{procedure.name} arguments", procedure.args, compiler)
        yield Shape(f"{procedure.name} result", procedure.ret, compiler)
    source = compiler_of_remote().source
    for name, fields in source.structs.items():
        yield Shape(f"struct {name}", fields, compiler_of_remote())


def compiler_of_remote() -> Compiler:
    return load().named("connect_open").compiler


SHAPES: Final = [shape for shape in shapes() if shape.fields]
REPRESENTATIVES: Final = list({shape.fields: shape for shape in SHAPES}.values())


def struct_class(base: str) -> type[Any]:
    found: type[Any] = getattr(values, "".join(word.capitalize() for word in base.split("_")))
    return found


def make(rng: random.Random, source: Source, kind: Type, most: int = 3) -> Any:
    """Any value of a type, its extremes among them; arrays have at most `most` elements."""
    if kind.optional:
        bare = Type(kind.base, limit=kind.limit, fixed=kind.fixed)
        return make(rng, source, bare, most) if most and rng.random() < 0.6 else None
    if kind.limit is not None:
        size = kind.limit if kind.fixed else rng.randint(0, min(most, kind.limit))
        if kind.base in ("opaque", "char"):
            return rng.randbytes(size)
        return [make(rng, source, Type(kind.base), most) for _ in range(size)]
    if kind.base in source.structs:
        parts = [make(rng, source, field.type, most) for field in source.structs[kind.base]]
        return struct_class(kind.base)(*parts)
    if kind.base in source.unions:
        number, case = rng.choice(list(source.unions[kind.base].items()))
        return TypedValue(number, make(rng, source, case, most))
    return make_plain(rng, kind.base)


def make_plain(rng: random.Random, base: str) -> Any:
    if base == "string":
        return rng.choice(WORDS)
    if base == "uuid":
        return rng.randbytes(16)
    if base == "f64":
        return rng.choice((0.0, -1.5, 1e300, rng.random()))
    low, high = RANGES[base]
    return rng.choice((low, high, max(low, min(high, 7)), rng.randint(low, high)))


def make_all(rng: random.Random, shape: Shape, most: int = 3) -> tuple[Any, ...]:
    return tuple(make(rng, shape.compiler.source, field.type, most) for field in shape.fields)


def test_values_of_every_procedure_survive_encoding() -> None:
    for shape in SHAPES:
        encode, decode = shape.compiler.encoder(shape.fields), shape.compiler.decoder(shape.fields)
        rng = random.Random(shape.name)  # the same values in every run
        for _ in range(12):
            value = make_all(rng, shape)
            data = encode(value)
            assert decode(data) == value, shape.name
            assert len(data) % 4 == 0, shape.name
            assert decode(data + b"left over") == value, shape.name


def test_procedures_codecs_are_those_of_their_fields() -> None:
    for procedure in load().procedures():
        rng = random.Random(procedure.name)
        arguments = make_all(rng, Shape("", procedure.args, procedure.compiler))
        assert procedure.decode_args(procedure.encode_args(arguments)) == arguments
        result = make_all(rng, Shape("", procedure.ret, procedure.compiler))
        folded = result if len(result) > 1 else result[0] if result else None
        assert procedure.decode_ret(procedure.encode_ret(folded)) == folded


@settings(max_examples=150)
@given(st.sampled_from(REPRESENTATIVES), st.integers(0, 2**32), st.integers(0, 8))
def test_any_value_of_any_type_survives_encoding(shape: Shape, seed: int, most: int) -> None:
    value = make_all(random.Random(seed), shape, most)
    data = shape.compiler.encoder(shape.fields)(value)
    assert shape.compiler.decoder(shape.fields)(data) == value


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_string_survives_encoding(text: str) -> None:
    lookup = load().named("domain_lookup_by_name")
    assert lookup.decode_args(lookup.encode_args((text,))) == (text,)


def over_the_limit(source: Source, kind: Type) -> list[tuple[Any, bytes]]:
    """Values that are one too long, and such bytes."""
    if kind.limit is None:
        if kind.base != "string":
            return []
        return [(LONG, struct.pack(">I", len(LONG)) + LONG.encode() + bytes(3))]
    rng = random.Random(0)
    if kind.fixed:
        return [(bytes(kind.limit + 1), b""), (bytes(kind.limit - 1), b"")]
    count = struct.pack(">I", kind.limit + 1)
    if kind.base in ("opaque", "char"):
        size = (kind.limit + 1) * (4 if kind.base == "char" else 1)
        return [(bytes(kind.limit + 1), count + bytes(size))]
    element = make(rng, source, Type(kind.base), 0)
    return [([element] * (kind.limit + 1), count + bytes(64 * (kind.limit + 1)))]


def test_every_length_over_its_limit_is_refused() -> None:
    refused = 0
    for shape in SHAPES:
        source, rng = shape.compiler.source, random.Random(0)
        good = make_all(rng, shape, 0)
        assert shape.compiler.encoder(shape.fields)(good)
        for place, field in enumerate(shape.fields):
            for value, data in over_the_limit(source, field.type):
                wrong = (*good[:place], value, *good[place + 1 :])
                with pytest.raises(EncodeError):
                    shape.compiler.encoder(shape.fields)(wrong)
                before = shape.compiler.encoder(shape.fields[:place])(good[:place])
                if data:
                    there = b"\0\0\0\1" if field.type.optional else b""
                    decode = shape.compiler.decoder(shape.fields)
                    with pytest.raises(DecodeError):
                        decode(before + there + data + bytes(8192))  # nothing is cut short
                refused += 1
    assert refused > 400  # so many texts and arrays stand in procedures and structures


def test_a_length_of_the_limit_is_accepted() -> None:
    keys = load().named("domain_send_key")
    dom = Domain("a", bytes(16), 1)
    for count in (0, 16):
        arguments = (dom, 0, 0, [1] * count, 0)
        assert keys.decode_args(keys.encode_args(arguments)) == arguments
    text = "a" * MAX_STRING
    lookup = load().named("domain_lookup_by_name")
    assert lookup.decode_args(lookup.encode_args((text,))) == (text,)


def test_truncated_bytes_are_refused() -> None:
    for shape in SHAPES:
        decode = shape.compiler.decoder(shape.fields)
        rng = random.Random(shape.name)
        data = shape.compiler.encoder(shape.fields)(make_all(rng, shape, 2))
        step = max(1, len(data) // 60)
        for size in (*range(0, len(data), step), len(data) - 1):
            with pytest.raises(DecodeError):
                decode(data[:size])


def hostile(rng: random.Random) -> bytes:
    """Bytes that look a little like XDR: small words, and now and then anything."""
    words = (0, 0, 1, 2, 3, 7, 16, 0x01000000, 0xFFFFFFFF, 0x61626300, rng.getrandbits(32))
    size = rng.randint(0, 40)
    return b"".join(struct.pack(">I", rng.choice(words)) for _ in range(size))


def check_hostile(shape: Shape, data: bytes) -> bool:
    """Decode; what can be decoded can be encoded, and is then the same value."""
    try:
        value = shape.compiler.decoder(shape.fields)(data)
    except DecodeError:
        return False
    again = shape.compiler.encoder(shape.fields)(value)
    assert (
        shape.compiler.encoder(shape.fields)(shape.compiler.decoder(shape.fields)(again)) == again
    )
    return True


def test_mutated_bytes_become_values_or_a_decode_error() -> None:
    taken = 0
    for shape in REPRESENTATIVES:
        rng = random.Random(shape.name)
        taken += sum(check_hostile(shape, hostile(rng)) for _ in range(8))
    assert taken > 100  # the bytes are like enough to get beyond the first word


@settings(max_examples=200)
@given(st.sampled_from(REPRESENTATIVES), st.binary(max_size=300))
def test_any_bytes_become_values_or_a_decode_error(shape: Shape, data: bytes) -> None:
    check_hostile(shape, data)


def test_a_small_message_cannot_ask_for_much_memory() -> None:
    stats = load().named("connect_get_all_domain_stats")
    with pytest.raises(DecodeError, match="16384 elements in 0 bytes"):
        stats.decode_args(struct.pack(">I", 16384))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("domain_lookup_by_id", ("1",)),
        ("domain_lookup_by_id", (2**31,)),
        ("domain_lookup_by_id", ()),
        ("domain_lookup_by_id", (1, 2)),
        ("domain_lookup_by_id", None),
        ("domain_lookup_by_name", (7,)),
        ("domain_lookup_by_name", (None,)),
        ("domain_lookup_by_name", ("nul\0",)),
        ("domain_lookup_by_name", ("\udc80",)),
        ("domain_lookup_by_uuid", (bytes(15),)),
        ("domain_lookup_by_uuid", ("é" * 16,)),
        ("domain_create", (("a", bytes(16)),)),
        ("domain_create", (None,)),
        ("domain_set_memory_parameters", (Domain("a", bytes(16), 1), [("f", (8, 1))], 0)),
        ("domain_set_memory_parameters", (Domain("a", bytes(16), 1), [("f", (5, 10**400))], 0)),
        ("domain_set_memory_parameters", (Domain("a", bytes(16), 1), 5, 0)),
    ],
)
def test_a_value_of_another_type_is_not_encoded(name: str, wrong: Any) -> None:
    with pytest.raises(EncodeError):
        load().named(name).encode_args(wrong)


@pytest.mark.parametrize(("name", "wrong"), [("domain_get_info", (256, 0, 0, 0, 0)),
                                             ("domain_get_info", (1, 2)),
                                             ("domain_create", 1),
                                             ("connect_get_hostname", None)])  # fmt: skip
def test_a_result_of_another_type_is_not_encoded(name: str, wrong: Any) -> None:
    with pytest.raises(EncodeError):
        load().named(name).encode_ret(wrong)


def test_a_typed_parameter_has_libvirts_encoding() -> None:
    """RFC 4506 by hand: the codecs do not only agree with themselves."""
    get = load().named("domain_get_perf_events")
    value = [TypedParam("cmt", TypedValue(6, 1)), TypedParam("name", TypedValue(7, "abcde"))]
    assert get.encode_ret(value).hex() == (
        "00000002"
        "00000003636d7400" "00000006" "00000001"
        "000000046e616d65" "00000007" "000000056162636465000000"
    )  # fmt: skip


def test_a_domain_and_flags_have_libvirts_encoding() -> None:
    destroy = load().named("domain_destroy_flags")
    data = destroy.encode_args((Domain("vm", bytes(range(16)), -1), 1))
    assert data.hex() == "00000002766d0000" + bytes(range(16)).hex() + "ffffffff" + "00000001"


def test_a_char_takes_four_bytes_and_any_nonzero_integer_marks_an_optional_as_present() -> None:
    start = load().named("auth_sasl_start")
    data = start.encode_args(("M", 0, b"\0\xff"))
    assert data.hex() == "000000014d000000000000000000000200000000ffffffff"
    open_ = load().named("connect_open")
    assert open_.decode_args(b"\x01\0\0\0" + b"\0\0\0\1a\0\0\0" + bytes(4)) == ("a", 0)


def test_the_contents_of_padding_are_ignored() -> None:
    lookup = load().named("domain_lookup_by_name")
    assert lookup.decode_args(b"\0\0\0\1axyz") == ("a",)
