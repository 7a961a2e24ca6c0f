"""The order in which a model's fields are read, and which of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from conf.errors import ConfError
from conf.mapper import When, attribute, child, children, element, parse, text


@element("part")
@dataclass(slots=True, kw_only=True)
class Part:
    size: int | None = attribute("@size", read=int)


@element("whole", read_first=("last",))
@dataclass(slots=True, kw_only=True)
class Whole:
    type: str | None = attribute("@type")
    first: int | None = text("first", read=int)
    parts: list[Part] = children("part", Part, when=When("type", ("a",)))
    single: str | None = attribute("single/@name", single="only one is allowed")
    last: int | None = text("last", read=int)


@element("holder")
@dataclass(slots=True, kw_only=True)
class Inner:
    size: int | None = attribute("@size", read=int, when=When("type", ("a",), outer=True))


@element("outer")
@dataclass(slots=True, kw_only=True)
class Outer:
    type: str | None = attribute("@type")
    inner: Inner | None = child("inner", Inner)


def fault(document: str) -> str:
    with pytest.raises(ConfError) as refused:
        parse(Whole, document)
    return refused.value.message


def test_of_several_faults_the_first_of_the_model_is_told_not_that_of_the_document() -> None:
    assert "'first'" in fault("<whole type='a'><part size='x'/><first>y</first></whole>")


def test_fields_that_libvirt_reads_first_are_read_first() -> None:
    assert "'last'" in fault("<whole><first>x</first><last>y</last></whole>")


def test_what_is_of_other_types_is_not_looked_at() -> None:
    assert parse(Whole, "<whole type='b'><part size='x'/></whole>").parts == []
    assert "'size'" in fault("<whole type='a'><part size='x'/></whole>")


def test_the_type_may_be_that_of_the_element_around() -> None:
    read = parse(Outer, "<outer type='b'><inner size='x'/></outer>")
    assert read.inner is not None
    assert read.inner.size is None


def test_a_second_element_is_refused_where_libvirt_does() -> None:
    assert fault("<whole><single/><single name='b'/></whole>") == "only one is allowed"
