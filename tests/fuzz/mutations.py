"""Small changes of documents, as data that Hypothesis can shrink.

Owns: the kinds of changes, and the values at the edges of numbers and words.
Pure: text in, text out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from lxml import etree

MAX_REPEATS: Final = 300
EDGES: Final = [
    number
    for bits in (0, 1, 3, 5, 7, 8, 15, 16, 31, 32, 53, 63, 64, 128)
    for number in ((1 << bits) - 1, 1 << bits, -(1 << bits))
]
ODD_NUMBERS: Final = (
    *("", "0x10", "0xffffffffffffffff", "1e9", "1.5", "-0", "+5", "007", " 8 ", "8\n", "٣", "nan"),
    *("9" * 400, "1,2,3", "0-4294967295", "^0", "3-1", "0-1,^0-1", "1_000", "inf", "0b1", "--1"),
)
WORDS: Final = (
    *("yes", "no", "none", "auto", "default", "bogus", "é", "x" * 300, "../..", "/", ".", "a/b"),
    *("a\nb", "%s%n", "::", "0.0.0.0", "::ffff:1.2.3.4", "ff:ff:ff:ff:ff:ff", "52:54:00:00:00:01"),
    *("sdzzzz", "vd", "hda1", "$IP[0]", "a b", "-", "a" * 5000, "00000000-0000-0000-0000-00000000"),
)
NUMBERS: Final = (
    st.sampled_from([str(edge) for edge in EDGES])
    | st.sampled_from(ODD_NUMBERS)
    | st.integers(-(1 << 70), 1 << 70).map(str)
)
VALUES: Final = NUMBERS | st.sampled_from(WORDS) | st.text(max_size=20)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a document; places count its elements, or its attributes, round and round."""

    kind: str
    place: int
    other: int = 0
    value: str = ""


def changes() -> SearchStrategy[list[Change]]:
    """Lists of changes."""
    places = st.integers(0, 2000)
    change = st.builds(Change, st.sampled_from(sorted(KINDS)), places, places, VALUES)
    return st.lists(change, min_size=1, max_size=6)


def changed(document: str, made: Iterable[Change]) -> str:
    """Return a document with these changes; what cannot be a document stays as it is."""
    root = etree.fromstring(document.encode())
    for change in made:
        KINDS[change.kind](root, change)
    return etree.tostring(root, encoding="unicode")


def _elements(root: etree._Element) -> list[etree._Element]:
    return [node for node in root.iter() if isinstance(node.tag, str)]


def _element(root: etree._Element, place: int) -> etree._Element:
    elements = _elements(root)
    return elements[place % len(elements)]


def _attribute(root: etree._Element, place: int) -> tuple[etree._Element, str] | None:
    found = [(node, str(name)) for node in _elements(root) for name in node.attrib]
    return found[place % len(found)] if found else None


def _writable(text: str) -> str:
    """What XML can hold of a text."""
    return "".join(c for c in text if c in "\t\n\r" or " " <= c < "\ud800" or "\ue000" <= c <= "�")


def _set_attribute(root: etree._Element, change: Change) -> None:
    found = _attribute(root, change.place)
    if found is not None:
        found[0].set(found[1], _writable(change.value))


def _add_attribute(root: etree._Element, change: Change) -> None:
    """Give an element an attribute that another one has."""
    found = _attribute(root, change.other)
    if found is not None:
        _element(root, change.place).set(found[1], _writable(change.value))


def _drop_attribute(root: etree._Element, change: Change) -> None:
    found = _attribute(root, change.place)
    if found is not None:
        del found[0].attrib[found[1]]


def _swap_attributes(root: etree._Element, change: Change) -> None:
    first, second = _attribute(root, change.place), _attribute(root, change.other)
    if first is not None and second is not None:
        value = str(first[0].get(first[1]))
        first[0].set(first[1], str(second[0].get(second[1])))
        second[0].set(second[1], value)


def _set_text(root: etree._Element, change: Change) -> None:
    leaves = [node for node in _elements(root) if not len(node)]
    leaves[change.place % len(leaves)].text = _writable(change.value)


def _drop(root: etree._Element, change: Change) -> None:
    node = _element(root, change.place)
    parent = node.getparent()
    if parent is not None:
        parent.remove(node)


def _double(root: etree._Element, change: Change) -> None:
    node = _element(root, change.place)
    parent = node.getparent()
    if parent is not None:
        parent.insert(parent.index(node), copy.deepcopy(node))


def _repeat(root: etree._Element, change: Change) -> None:
    node = _element(root, change.place)
    parent = node.getparent()
    if parent is not None and sum(1 for _ in node.iter()) < 20:
        for _ in range(change.other % MAX_REPEATS):
            parent.append(copy.deepcopy(node))


def _graft(root: etree._Element, change: Change) -> None:
    node = copy.deepcopy(_element(root, change.other))
    if sum(1 for _ in node.iter()) < 200:
        _element(root, change.place).append(node)


def _rename(root: etree._Element, change: Change) -> None:
    node = _element(root, change.place)
    if node.getparent() is not None:
        node.tag = str(_element(root, change.other).tag)


def _move(root: etree._Element, change: Change) -> None:
    node, target = _element(root, change.place), _element(root, change.other)
    if node.getparent() is not None and node not in (target, *target.iterancestors()):
        target.insert(0, node)


KINDS: Final[dict[str, Callable[[etree._Element, Change], None]]] = {
    "set attribute": _set_attribute,
    "set an attribute": _set_attribute,  # twice: most of what a document says is in attributes
    "add attribute": _add_attribute,
    "drop attribute": _drop_attribute,
    "swap attributes": _swap_attributes,
    "set text": _set_text,
    "drop": _drop,
    "double": _double,
    "repeat": _repeat,
    "graft": _graft,
    "rename": _rename,
    "move": _move,
}
