"""Schema validation: what libvirt's VALIDATE flags ask for before a document is read.

Owns: the compiled RelaxNG schemas; the check against a model where no schema is installed.
May touch: the schema files of libvirt's package. May not touch: the meaning of elements.
Source: libvirt 9.0, src/util/virxml.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.reading import ReadStep, class_of, element_path, qualified_tag, read_plan
from conf.mapper.safe_parse import parse_tree
from conf.mapper.spec import Choice

#: Where libvirt's packages install the schemas; Debian's libvirt0 does.
SCHEMAS: Final = Path("/usr/share/libvirt/schemas")

MAX_UNKNOWN: Final = 20  # kinds of elements and attributes that are named

_compiled: Final[dict[Path, etree.RelaxNG]] = {}
# An lxml schema has one error log, which each validation clears: one thread at a time.
_lock: Final = Lock()


def validate_document(
    xml: bytes | str, schema: str, model: type | str, *, folder: Path = SCHEMAS
) -> None:
    """Refuse a document that does not conform to libvirt's schema.

    This compiles the schema at its first use and can take long for a large document: call it in a
    thread. Malformed XML and another root element pass: reading the document refuses them with the
    code that libvirt has for that.

    Args:
        xml: the document.
        schema: file name, such as "domain.rng".
        model: the document's class. Without the schema file it says which elements and attributes
            exist. The root element's name if the parser refuses unknown ones itself.
        folder: of the schema files.

    Raises:
        ConfError: "xml_invalid_schema"; "internal": the schema file is no RelaxNG.
    """
    try:
        root = parse_tree(xml)
    except ConfError:
        return
    if root.tag != (model if isinstance(model, str) else qualified_tag(model.__element__)):  # type: ignore[attr-defined]
        return
    path = folder / schema
    if path.is_file():
        details = _violations(path, root)
    else:
        details = [] if isinstance(model, str) else _unknown(model, root, 1)
    if details:
        # libvirt appends libxml2's messages with their line ends, the last one's too.
        detail = "".join(
            f"{line}\n" for line in (f"Unable to validate doc against {path}", *details)
        )
        raise ConfError("xml_invalid_schema", detail, str(root.tag))


def _violations(path: Path, root: etree._Element) -> list[str]:
    """Return libxml2's messages on what a schema does not allow; none for a valid document."""
    with _lock:
        schema = _compiled.get(path)
        if schema is None:
            try:
                schema = _compiled[path] = etree.RelaxNG(file=str(path))
            except (etree.RelaxNGParseError, etree.XMLSyntaxError, OSError):
                raise ConfError("internal", f"Unable to parse RNG {path}") from None
        if schema.validate(root):
            return []
        return [str(entry.message) for entry in schema.error_log] or ["no details"]


def unknown_parts(root: etree._Element, model: type) -> list[str]:
    """List what a document has and its class does not read: like libvirt's, it ignores that.

    Args:
        root: of a document that could be read.
        model: its class.

    Returns:
        A sentence for each kind of element or attribute, of the first `MAX_UNKNOWN`.
    """
    return _unknown(model, root, MAX_UNKNOWN)


class _KnownElement:
    """Attributes and children that the steps reading an element know; compiled once a class."""

    __slots__ = ("attributes", "by_tag", "inner", "steps")

    def __init__(self, steps: Iterable[ReadStep]) -> None:
        self.attributes: set[str] = set()
        self.steps: dict[str, list[ReadStep]] = {}  # by the child element that they lead to
        self.inner: dict[tuple[object, ...], _KnownElement] = {}  # by child element and its classes
        self.by_tag: dict[str, _KnownElement] = {}  # of children whose class is always the same
        for step in steps:
            if step.path:
                self.steps.setdefault(step.path[0], []).append(step)
            elif step.spec.kind == "attribute":
                self.attributes.add(step.spec.name)

    def inside(self, node: etree._Element) -> _KnownElement | None:
        """Return what is known of a child element, whose class may depend on its attributes.

        Returns:
            None: no step reads it; `_VERBATIM`: it is read with whatever it has.
        """
        tag = str(node.tag)
        same = self.by_tag.get(tag)
        if same is not None:
            return same
        steps = self.steps.get(tag)
        if steps is None:
            return None
        if any(step.spec.kind == "verbatim" for step in steps):
            self.by_tag[tag] = _VERBATIM
            return _VERBATIM
        try:
            classes = [
                class_of(step.spec, node)
                if step.spec.model is not None and len(step.path) == 1
                else None
                for step in steps
            ]
        except ConfError:
            return None  # reading would refuse it, and passed it over: another of its kind was read
        known = self.inner.get((tag, *classes))
        if known is None:
            inside: list[ReadStep] = []
            for step, model in zip(steps, classes, strict=True):
                if model is not None:
                    inside += read_plan(model).steps
                else:
                    inside.append(replace(step, path=step.path[1:], outer=step.path[1:-1]))
            known = self.inner[tag, *classes] = _KnownElement(inside)
            if not any(isinstance(step.spec.model, Choice) for step in steps):
                self.by_tag[tag] = known
        return known


_VERBATIM: Final = _KnownElement(())


@cache
def _known_of(model: type) -> _KnownElement:
    return _KnownElement(read_plan(model).steps)


def _unknown(model: type, root: etree._Element, limit: int) -> list[str]:
    """Return messages on the elements and attributes that no class reads, each once."""
    found: dict[str, None] = {}
    _find_unknown(_known_of(model), root, found, limit)
    return list(found)[:limit]


def _find_unknown(
    known: _KnownElement, node: etree._Element, found: dict[str, None], limit: int
) -> None:
    """Add a message on each attribute and inner element that no step of this element reads."""
    names = node.keys()
    if names and not known.attributes.issuperset(names):
        for name in names:
            if name not in known.attributes:
                found[f"Invalid attribute {name!s} for element {element_path(node)}"] = None
    for inner in node:
        if len(found) >= limit:
            return
        inside = known.inside(inner)
        if inside is None:
            found[f"Did not expect element {inner.tag!s} in {element_path(node)}"] = None
        elif inside is not _VERBATIM:
            _find_unknown(inside, inner, found, limit)
