"""What counts of repeated and empty elements: as XPath's string() and virXPathNode have it."""

from __future__ import annotations

from dataclasses import dataclass, field

from conf.mapper import attribute, child, element, parse, text, texts
from conf.types.integer import uint


@element("size")
@dataclass(slots=True, kw_only=True)
class Size:
    """A size."""

    amount: int = text(".", read=uint, default=0)


@element("thing")
@dataclass(slots=True, kw_only=True)
class Thing:
    """A field of each kind."""

    name: str | None = text("name")
    words: list[str] = texts("word")
    any_tag: str | None = attribute("any/@tag")
    first_tag: str | None = attribute("first/@tag", first=True)
    inner: str | None = text("outer/inner", first=True)
    size: Size | None = child("size", Size, empty_is_absent=True)
    unmapped: int = field(default=0, compare=False)


def thing(inside: str) -> Thing:
    return parse(Thing, f"<thing>{inside}</thing>")


def test_text_is_that_of_the_first_element_even_if_it_is_empty() -> None:
    assert thing("<name/><name>b</name>").name is None
    assert thing("<name>a</name><name>b</name>").name == "a"


def test_text_is_with_that_of_elements_inside() -> None:
    assert thing("<name>a<b>c</b>d</name>").name == "acd"
    assert thing("<name>a<!-- no -->b<![CDATA[c]]></name>").name == "abc"
    assert thing("<word>a<b>c</b></word><word>d</word>").words == ["ac", "d"]


def test_attribute_is_of_the_first_element_with_it_or_of_the_first_alone() -> None:
    assert thing("<any/><any tag='x'/>").any_tag == "x"
    assert thing("<first/><first tag='x'/>").first_tag is None
    assert thing("<outer/><outer><inner>x</inner></outer>").inner is None
    assert thing("<outer><inner>x</inner></outer><outer/>").inner == "x"


def test_size_without_a_number_is_absent() -> None:
    assert thing("<size/>").size is None
    assert thing("<size>3</size>").size == Size(amount=3)
