"""How the mapper reads and lays out documents."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from conf.errors import ConfError
from conf.mapper import (
    Choice,
    Mode,
    attribute,
    child,
    children,
    element,
    flag,
    parse,
    text,
    texts,
    verbatim,
    write,
)


@element("disk")
@dataclass(slots=True, kw_only=True)
class FileDisk:
    """A disk in a file."""

    type: str = attribute("@type", default="file")
    path: str | None = attribute("source/@file")


@element("disk")
@dataclass(slots=True, kw_only=True)
class BlockDisk:
    """A disk that is one."""

    type: str = attribute("@type", default="block")
    path: str | None = attribute("source/@dev")


@element("pair")
@dataclass(slots=True, kw_only=True)
class Pair:
    """A child whose parts may come from several elements, checked before it is read."""

    disk: FileDisk | None = child("disk", FileDisk, merge=True)
    other: FileDisk | None = child("other", FileDisk)
    number: int | None = attribute("@number", read=int, empty_is_absent=True)
    size: int | None = attribute("size/@number", read=int)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        if node.find("forbidden") is not None:
            raise ConfError("no_name", "forbidden")


@element("guest")
@dataclass(slots=True, kw_only=True)
class Guest:
    """One of each kind of field."""

    id: int | None = attribute("@id", read=int, only="live")
    name: str = text("name", default="")
    title: str | None = text("title", omit="")
    notes: str | None = verbatim("notes")
    quiet: bool = flag("quiet")
    period: int | None = attribute("stats/@period", read=int)
    level: str | None = text("stats/level")
    lock: bool | None = attribute("lock/@state", present=True)
    password: str | None = attribute("console/@passwd", only="secure")
    port: int | None = attribute("console/@port", read=int, required=True)
    arguments: list[str] = texts("arguments/argument")
    disk: FileDisk | BlockDisk | None = child(
        "boot", Choice("type", {"file": FileDisk, "block": BlockDisk}, default="file")
    )
    disks: list[FileDisk] = children("disks/disk", FileDisk)


FULL = """<guest id='7'>
  <name>a&apos;b &amp; &lt;c&gt;</name>
  <notes>
    <my:note xmlns:my="urn:my" a="1">x</my:note>
  </notes>
  <quiet/>
  <stats period='5'>
    <level>high</level>
  </stats>
  <lock state='no'/>
  <console passwd='secret' port='5900'/>
  <arguments>
    <argument>one</argument>
    <argument>two</argument>
  </arguments>
  <boot type='block'>
    <source dev='/dev/sda'/>
  </boot>
  <disks>
    <disk type='file'>
      <source file='/a'/>
    </disk>
    <disk type='file'/>
  </disks>
</guest>
"""


def test_a_document_is_laid_out_as_libvirt_does() -> None:
    guest = parse(Guest, FULL)
    assert isinstance(guest.disk, BlockDisk)
    assert write(guest, Mode(live=True, secure=True)) == FULL


def test_layout_and_attribute_order_of_the_input_do_not_matter() -> None:
    squeezed = "".join(line.strip() for line in FULL.splitlines())
    assert parse(Guest, squeezed) == parse(Guest, FULL)
    assert parse(Guest, f"<?xml version='1.0'?>\n<!-- a comment -->\n{FULL}") == parse(Guest, FULL)


def test_live_and_secret_values_are_written_only_when_asked_for() -> None:
    guest = parse(Guest, FULL)
    plain = write(guest, Mode())
    assert "id='7'" not in plain
    assert "secret" not in plain
    assert "<console port='5900'/>" in plain


def test_an_empty_model_is_an_empty_element() -> None:
    assert write(Guest(name="x"), Mode()) == "<guest>\n  <name>x</name>\n</guest>\n"
    assert write(FileDisk(), Mode()) == "<disk type='file'/>\n"


def test_elements_that_nobody_knows_are_ignored() -> None:
    guest = parse(Guest, "<guest future='1'><name>x</name><future><disk/></future></guest>")
    assert guest == Guest(name="x")


def test_an_element_there_without_its_attribute_has_its_say() -> None:
    assert parse(Guest, "<guest><lock/></guest>").lock is True
    assert parse(Guest, "<guest/>").lock is None
    with pytest.raises(ConfError, match="Missing required attribute 'port' in element 'console'"):
        parse(Guest, "<guest><console/></guest>")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("<guest><stats period='soon'/></guest>", "guest/stats/@period"),
        ("<guest id='x'/>", "guest/@id"),
        ("<guest><boot type='paper'/></guest>", "guest/boot/@type"),
    ],
)
def test_bad_text_is_refused_with_its_path(document: str, path: str) -> None:
    with pytest.raises(ConfError, match="Invalid value for attribute") as refused:
        parse(Guest, document)
    assert (refused.value.kind, refused.value.path) == ("xml", path)


@given(
    st.text(
        st.characters(
            codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
        )
        | st.sampled_from("\t\n\r &<>'\"")
    )
)
def test_any_text_survives_in_attributes_and_elements(text: str) -> None:
    disk = parse(FileDisk, write(FileDisk(path=text), Mode()))
    assert disk.path == text
    if text.strip():
        assert parse(Guest, write(Guest(name=text), Mode())).name == text


@given(st.text(st.characters(max_codepoint=31)))
def test_characters_that_no_document_may_have_are_left_out(text: str) -> None:
    parse(FileDisk, write(FileDisk(path=text), Mode()))


def test_merged_child_has_each_part_of_the_first_element_with_it() -> None:
    first, second = "<{0} type='a'/>", "<{0} type='b'><source file='/x'/></{0}>"
    inside = "".join(part.format(tag) for tag in ("disk", "other") for part in (first, second))
    pair = parse(Pair, f"<pair>{inside}</pair>")
    assert pair.disk == FileDisk(type="a", path="/x")
    assert pair.other == FileDisk(type="a")


def test_before_read_is_called_before_any_field_is_read() -> None:
    with pytest.raises(ConfError) as refused:
        parse(Pair, "<pair number='x'><forbidden/></pair>")
    assert refused.value.kind == "no_name"


def test_empty_attribute_is_absent_where_libvirt_uses_xpath() -> None:
    assert parse(Pair, "<pair number=''/>").number is None
    with pytest.raises(ConfError):
        parse(Pair, "<pair><size number=''/></pair>")


def test_repeated_elements_are_not_read() -> None:
    assert parse(Pair, "<pair><size number='1'/><size number='x'/></pair>").size == 1
