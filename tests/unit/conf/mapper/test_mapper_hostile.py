"""Hostile documents are refused with one error, whatever is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.mapper import attribute, children, element, parse, text
from conf.mapper.safe_parse import MAX_DEPTH, MAX_SIZE


@element("leaf")
@dataclass(slots=True, kw_only=True)
class Leaf:
    """A leaf."""

    size: int = attribute("@size", read=int, default=0)


@element("tree")
@dataclass(slots=True, kw_only=True)
class Tree:
    """A tree."""

    name: str = text("name", default="")
    leaves: list[Leaf] = children("leaf", Leaf)


def refusal(model: type, document: bytes | str) -> str:
    """The kind of the refusal; "" if there is none. Any other exception fails the test."""
    try:
        parse(model, document)
    except ConfError as refused:
        return refused.kind
    return ""


BOMB = """<?xml version="1.0"?>
<!DOCTYPE tree [
  <!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">
]>
<tree><name>&c;</name></tree>"""
OUTSIDE = '<!DOCTYPE tree [<!ENTITY a SYSTEM "file:///etc/passwd">]><tree><name>&a;</name></tree>'


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(BOMB, id="entity bomb"),
        pytest.param(BOMB.encode("utf-16"), id="entity bomb in UTF-16"),
        pytest.param(OUTSIDE, id="entity from a file"),
        pytest.param("<tree>" * (MAX_DEPTH + 1) + "</tree>" * (MAX_DEPTH + 1), id="deep"),
        pytest.param("<tree>" * 100_000, id="very deep"),
        pytest.param("<tree><name>" + "x" * MAX_SIZE + "</name></tree>", id="large"),
        pytest.param("<tree><name>" + "x" * 11_000_000 + "</name></tree>", id="large text"),
        pytest.param("<tree>" + "<leaf/>" * 200_001 + "</tree>", id="many elements"),
        pytest.param(b"<tree><name>\0</name></tree>", id="NUL"),
        pytest.param("<tree><name>&#0;</name></tree>", id="NUL as a reference"),
        pytest.param(b"<tree><name>\xff\xfe</name></tree>", id="not UTF-8"),
        pytest.param(b"<?xml version='1.0' encoding='klingon'?><tree/>", id="unknown encoding"),
        pytest.param("<tree><name>\ud800</name></tree>", id="half a surrogate"),
        pytest.param("<tree><name>\x01</name></tree>", id="control character"),
    ],
)
def test_hostile_documents_are_xml_errors(document: bytes | str) -> None:
    with pytest.raises(ConfError) as refused:
        parse(Tree, document)
    assert refused.value.kind == "xml"


@pytest.mark.parametrize("document", ["", "   ", "<tree>", "<tree><leaf></tree>", "tree", "<a b>"])
def test_what_is_no_xml_is_told_with_its_line(document: str) -> None:
    with pytest.raises(ConfError, match=r"\(document\):1: ") as refused:
        parse(Tree, document)
    assert refused.value.kind == "xml_detail"  # as libvirt 9.0 answers: code 35


def test_another_root_element_is_refused_by_name() -> None:
    with pytest.raises(ConfError, match="expecting root element of 'tree', not 'leaf'") as refused:
        parse(Tree, "<leaf/>")
    assert refused.value.kind == "xml"


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_input_is_a_tree_or_one_refusal(document: bytes | str) -> None:
    assert refusal(Tree, document) in ("", "xml", "xml_detail")


@given(st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_a_damaged_document_is_a_model_or_one_refusal(place: int, damage: bytes) -> None:
    document = b"<tree><name>oak</name><leaf size='1'/><leaf size='2'/></tree>"
    damaged = document[:place] + damage + document[place + len(damage) :]
    assert refusal(Tree, damaged) in ("", "xml", "xml_detail")


def test_encodings_that_are_said_truly_are_read() -> None:
    document = "<?xml version='1.0' encoding='iso-8859-1'?><tree><name>Esche-\xe4</name></tree>"
    assert parse(Tree, document.encode("iso-8859-1")).name == "Esche-\xe4"
    assert parse(Tree, document).name == "Esche-\xe4"  # decoded already: the header is not heeded
    assert parse(Tree, document.replace("iso-8859-1", "utf-16").encode("utf-16")).name[-1] == "\xe4"
