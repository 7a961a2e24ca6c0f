"""Writes the documents that hostd answers with: nested tuples become indented XML.

Owns: the layout. Pure. (Documents that are also read have models in `conf`.)
"""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

#: An element: its tag, its attributes, and its text or children. `None` among children is left out.
Element = tuple[str, Mapping[str, object], str | list["Element | None"]]


def write(element: Element) -> str:
    """Lay the document out as text, two spaces a level."""
    tree = build(element)
    etree.indent(tree, "  ")
    return etree.tostring(tree, encoding="unicode") + "\n"


def build(element: Element) -> etree._Element:
    """Make lxml's tree of it."""
    tag, attributes, content = element
    node = etree.Element(tag, {name: str(value) for name, value in attributes.items()})
    if isinstance(content, str):
        node.text = content
    else:
        node.extend([build(child) for child in content if child is not None])
    return node


def text(tag: str, content: object) -> Element:
    """An element that holds text alone."""
    return tag, {}, str(content)


def group(tag: str, *children: Element | None, **attributes: object) -> Element:
    """An element with children."""
    return tag, attributes, list(children)
