"""Writes capabilities XML: nested tuples become indented elements.

Owns: the layout. Pure. (Documents that are also read have models in `conf`.)
"""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

#: An element: its tag, its attributes, and its text or children. `None` among children is left out.
Element = tuple[str, Mapping[str, object], str | list["Element | None"]]


def write(element: Element) -> str:
    """Format the element with two spaces a level, as libvirt does."""
    tree = build(element)
    etree.indent(tree, "  ")
    return etree.tostring(tree, encoding="unicode") + "\n"


def build(element: Element) -> etree._Element:
    """Build lxml's tree of an element."""
    tag, attributes, content = element
    node = etree.Element(tag, {name: str(value) for name, value in attributes.items()})
    if isinstance(content, str):
        node.text = content or None
    else:
        node.extend([build(child) for child in content if child is not None])
    return node


def text(tag: str, content: object) -> Element:
    """Make an element with text."""
    return tag, {}, str(content)


def group(tag: str, *children: Element | None, **attributes: object) -> Element:
    """Make an element with children."""
    return tag, attributes, list(children)
