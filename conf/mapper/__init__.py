"""The XML mapper: reads and writes dataclasses that have a line for each attribute or child.

Owns: reading and writing. May not touch: the meaning of a model, files, the host.
"""

from conf.mapper.reading import NAMESPACES, parse, parse_root, read
from conf.mapper.spec import (
    Choice,
    Refusal,
    When,
    attribute,
    child,
    children,
    element,
    flag,
    text,
    texts,
    verbatim,
)
from conf.mapper.writing import (
    Mode,
    escape_attribute,
    join_parts,
    write,
    write_element,
    write_parts,
)

__all__ = [
    "NAMESPACES",
    "Choice",
    "Mode",
    "Refusal",
    "When",
    "attribute",
    "child",
    "children",
    "element",
    "escape_attribute",
    "flag",
    "join_parts",
    "parse",
    "parse_root",
    "read",
    "text",
    "texts",
    "verbatim",
    "write",
    "write_element",
    "write_parts",
]
