"""Schema validation: what libvirt's VALIDATE flags ask for before a document is read.

Owns: the compiled RelaxNG schemas; the check against a model where no schema is installed.
May touch: the schema files of libvirt's package. May not touch: the meaning of elements.
Source: libvirt 9.0, src/util/virxml.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.reading import ReadPlan, class_of, element_path, qualified_tag, read_plan
from conf.mapper.safe_parse import parse_tree

#: Where libvirt's packages install the schemas; Debian's libvirt0 does.
SCHEMAS: Final = Path("/usr/share/libvirt/schemas")

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
        details = [] if isinstance(model, str) else _unknown([read_plan(model)], root)
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


def _unknown(plans: list[ReadPlan], node: etree._Element) -> list[str]:
    """Return a message on the first element or attribute that no plan of this element has."""
    attributes = {name for plan in plans for name, _, _ in plan.attributes}
    for name in node.attrib:
        if name not in attributes:
            return [f"Invalid attribute {name!s} for element {element_path(node)}"]
    for inner in node:
        inner_plans = _plans_of(plans, inner)
        if inner_plans is None:
            return [f"Did not expect element {inner.tag!s} in {element_path(node)}"]
        details = _unknown(inner_plans, inner) if inner_plans else []
        if details:
            return details
    return []


def _plans_of(plans: Iterable[ReadPlan], node: etree._Element) -> list[ReadPlan] | None:
    """Return the plans of a child element: none if anything may be in it, None if it is unknown."""
    tag = str(node.tag)
    inner = [plan.inside[tag] for plan in plans if tag in plan.inside]
    specs = [spec for plan in plans for _, spec in plan.fields.get(tag, ())]
    if not inner and not specs:
        return None
    if any(spec.kind == "verbatim" for spec in specs):
        return []
    inner += [read_plan(class_of(spec, node)) for spec in specs if spec.model is not None]
    return inner or [ReadPlan()]
