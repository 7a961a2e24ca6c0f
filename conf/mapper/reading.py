"""Reads lxml elements into models.

Owns: the read plan of each class, compiled once.
May not touch: the meaning of a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.mapper.spec import KEY, Choice, FieldSpec, Refusal

M = TypeVar("M")

Values = dict[str, Any]

#: The namespaces that libvirt's documents know by these prefixes.
NAMESPACES: Final = {
    "qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
    "lxc": "http://libvirt.org/schemas/domain/lxc/1.0",
    "dnsmasq": "http://libvirt.org/schemas/network/dnsmasq/1.0",
    "fs": "http://libvirt.org/schemas/storagepool/fs/1.0",
    "rbd": "http://libvirt.org/schemas/storagepool/rbd/1.0",
}


@dataclass(slots=True)
class ReadPlan:
    """The fields to read from one element and from those inside it."""

    attributes: list[tuple[str, str, FieldSpec]] = field(default_factory=list)  # attribute, field
    text: tuple[str, FieldSpec] | None = None
    when_absent: list[tuple[str, FieldSpec]] = field(
        default_factory=list
    )  # required, or with a value of their own when absent
    fields: dict[str, list[tuple[str, FieldSpec]]] = field(
        default_factory=dict
    )  # tag -> its fields
    inside: dict[str, ReadPlan] = field(default_factory=dict)  # tag -> what lies deeper

    def element_at(self, path: tuple[str, ...]) -> ReadPlan:
        """Return the plan of the element at a path, created if need be."""
        plan = self
        for tag in path:
            plan = plan.inside.setdefault(tag, ReadPlan())
        return plan


def parse(model: type[M], data: bytes | str) -> M:
    """Read a document whose root is the model's element.

    Raises:
        ConfError: kind "xml" or "xml_detail"; the message names the element.
    """
    root = parse_tree(data)
    expected = model.__element__  # type: ignore[attr-defined]
    if root.tag != qualified_tag(expected):
        tag = f"'{root.tag}'" if isinstance(root.tag, str) else "something else"
        detail = f"expecting root element of '{expected}', not {tag}"
        raise ConfError("xml", detail, expected)
    return read(model, root)


def read(model: type[M], node: etree._Element, *repeated: etree._Element) -> M:
    """Read one element.

    Args:
        model: its class. A static method `before_read` of it is called with the element before
            any field is read: for what libvirt checks first.
        node: the element.
        repeated: further elements of the same name, for a child with `merge`.

    Raises:
        ConfError: kind "xml", naming the place, for text that a field does not take.
    """
    before = getattr(model, "before_read", None)
    if before is not None:
        before(node)
    values: Values = {}
    plan = read_plan(model)
    unexpected = getattr(model, "__unexpected__", None)
    if unexpected is not None:
        _check_unknown(plan, node, unexpected)
    _read_fields(plan, node, values)
    for other in repeated:
        _read_fields(plan, other, values)
    instance = model(**values)
    finish = getattr(instance, "after_read", None)
    if finish is not None:
        try:
            finish()
        except ValueError as error:
            detail = f"Invalid value in element '{node.tag}': {error}"
            raise ConfError("xml", detail, element_path(node)) from None
    return instance


_READ_PLANS: dict[type, ReadPlan] = {}


def read_plan(model: type) -> ReadPlan:
    """Return the plan of a class, compiled at its first use."""
    compiled = _READ_PLANS.get(model)
    if compiled is not None:
        return compiled
    plan = _READ_PLANS[model] = ReadPlan()
    for place in dataclasses.fields(model):
        spec = place.metadata.get(KEY)
        if spec is None:
            continue
        if spec.kind == "attribute":
            at = plan.element_at(spec.path)
            at.attributes.append((spec.name, place.name, spec))
            if spec.required or spec.default_when_absent is not None:
                at.when_absent.append((place.name, spec))
        elif spec.kind == "text":
            plan.element_at(spec.path).text = (place.name, spec)
        else:
            steps = [qualified_tag(step) for step in [*spec.wrap.split("/"), *spec.path] if step]
            at = plan.element_at(tuple(steps[:-1]))
            at.fields.setdefault(steps[-1], []).append((place.name, spec))
    return plan


def qualified_tag(tag: str) -> str:
    """Expand the prefix of a tag ("qemu:arg") to its namespace, as the parser does."""
    prefix, colon, name = tag.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{name}" if colon else tag


def _check_unknown(plan: ReadPlan, node: etree._Element, unexpected: str) -> None:
    """Refuse unknown children of a class with `__unexpected__`, the start of the error's text."""
    for inner in node:
        tag = inner.tag
        if isinstance(tag, str) and tag not in plan.inside and tag not in plan.fields:
            raise ConfError("config_unsupported", f"{unexpected} '{tag}'", element_path(node))


def _read_attributes(plan: ReadPlan, node: etree._Element, values: Values) -> None:
    for attribute, name, spec in plan.attributes:
        if name in values:  # of repeated elements the first counts; the others are not looked at
            continue
        value = node.get(attribute)
        if value or (value is not None and not spec.empty_is_absent):
            values[name] = _convert(spec, value, node, attribute)
    for name, spec in plan.when_absent:
        if name not in values:
            values[name] = _value_when_absent(spec, node)


def _read_fields(plan: ReadPlan, node: etree._Element, values: Values) -> None:
    _read_attributes(plan, node, values)
    if plan.text is not None:
        _read_text(*plan.text, node, values)
    if not plan.fields and not plan.inside:
        return
    for inner in node:
        tag = inner.tag
        deeper = plan.inside.get(tag)
        if deeper is not None:
            _read_fields(deeper, inner, values)
        for name, spec in plan.fields.get(tag, ()):
            _READERS[spec.kind](name, spec, inner, values)


def _read_text(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    content = node.text or ""
    if name in values:
        return
    # XPath's string() of an empty element is "", which libvirt reads as no element at all.
    if content or spec.read_empty or (not spec.path and spec.omit != ""):
        values[name] = _convert(spec, content, node, "")


def _value_when_absent(spec: FieldSpec, node: etree._Element) -> object:
    """Return the value of an attribute that is not there."""
    if isinstance(spec.required, Refusal):
        raise ConfError(spec.required.kind, spec.required.message, element_path(node))
    if spec.required:
        detail = f"Missing required attribute '{spec.name}' in element '{node.tag}'"
        raise ConfError(spec.error_kind or "xml", detail, element_path(node))
    return spec.default_when_absent


def _read_child(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    if name not in values:
        repeated = node.itersiblings(node.tag) if spec.merge else ()
        values[name] = read(class_of(spec, node), node, *repeated)
    elif isinstance(spec.single, Refusal):
        raise ConfError(spec.single.kind, spec.single.message, element_path(node))
    elif spec.single:
        raise ConfError("xml", spec.single, element_path(node))


def _read_children(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    values.setdefault(name, []).append(read(class_of(spec, node), node))


def _read_texts(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    values.setdefault(name, []).append(_convert(spec, node.text or "", node, ""))


def _read_flag(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    values[name] = True


def _read_verbatim(name: str, spec: FieldSpec, node: etree._Element, values: Values) -> None:
    if name not in values:
        kept = deepcopy(node)
        if spec.prune is not None:
            spec.prune(kept)
        values[name] = _indented_text(kept)


def _indented_text(node: etree._Element) -> str:
    """Serialise an element indented by one level, without the first line's indent."""
    holder = etree.Element("x")
    holder.append(node)
    written = etree.tostring(holder, encoding="unicode", pretty_print=True)
    return written.removeprefix("<x>\n").rstrip().removesuffix("</x>").strip()


_READERS: dict[str, Callable[[str, FieldSpec, etree._Element, Values], None]] = {
    "child": _read_child,
    "children": _read_children,
    "texts": _read_texts,
    "flag": _read_flag,
    "verbatim": _read_verbatim,
}


def class_of(spec: FieldSpec, node: etree._Element) -> type:
    """Return the class that reads a child's element.

    Raises:
        ConfError: no class is for the value of the attribute that chooses it.
    """
    if isinstance(spec.model, FunctionType):
        return cast("type", spec.model())
    if not isinstance(spec.model, Choice):
        return cast("type", spec.model)
    text = node.get(spec.model.by, spec.model.default)
    if not text and spec.model.missing is not None:
        raise ConfError(spec.model.missing.kind, spec.model.missing.message, element_path(node))
    chosen = spec.model.classes.get(text)
    if chosen is None and spec.model.unknown is not None:
        unknown = spec.model.unknown
        raise ConfError(unknown.kind, unknown.message.format(text), element_path(node))
    if chosen is None:
        raise invalid_value(node, spec.model.by, text)
    return chosen


def _convert(spec: FieldSpec, value: str, node: etree._Element, attribute: str) -> object:
    try:
        return spec.read(value)
    except (ValueError, KeyError):
        expected = getattr(spec.read, "expected", "")
        raise invalid_value(node, attribute, value, spec.error_kind or "xml", expected) from None


def invalid_value(
    node: etree._Element, attribute: str, value: str, kind: str = "xml", expected: str = ""
) -> ConfError:
    """Make the error for a value that its field does not take."""
    path = element_path(node)
    where = f"attribute '{attribute}' in element" if attribute else "text of element"
    detail = f"Invalid value for {where} '{node.tag}': '{value}'."
    if expected:
        detail += f" Expected {expected}"
    return ConfError(kind, detail, f"{path}/@{attribute}" if attribute else path)


def element_path(node: etree._Element) -> str:
    """Return the tags from the root to an element, separated by slashes."""
    steps = [node, *node.iterancestors()]
    return "/".join(str(step.tag) for step in reversed(steps))
