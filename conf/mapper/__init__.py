"""The XML mapper: dataclasses with a line for each attribute or child become documents and back.

Owns: the way between XML and models. May not touch: what a model means, files, the host.
"""

from conf.mapper.reading import NAMESPACES, parse, read
from conf.mapper.spec import (
    Choice,
    attribute,
    child,
    children,
    element,
    flag,
    text,
    texts,
    verbatim,
)
from conf.mapper.writing import Mode, write

__all__ = [
    "NAMESPACES",
    "Choice",
    "Mode",
    "attribute",
    "child",
    "children",
    "element",
    "flag",
    "parse",
    "read",
    "text",
    "texts",
    "verbatim",
    "write",
]
