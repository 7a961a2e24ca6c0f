"""From elements to models.

Owns: the plan by which a class reads its element, compiled once.
May not touch: what a model means.
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
from conf.mapper.spec import KEY, Choice, Spec

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
class Plan:
    """What to take from one element and from those inside it."""

    attributes: list[tuple[str, str, Spec]] = field(default_factory=list)  # attribute, field
    text: tuple[str, Spec] | None = None
    missing: list[tuple[str, Spec]] = field(default_factory=list)  # matter when they are absent
    fields: dict[str, list[tuple[str, Spec]]] = field(default_factory=dict)  # tag -> its fields
    inside: dict[str, Plan] = field(default_factory=dict)  # tag -> what lies deeper

    def at(self, path: tuple[str, ...]) -> Plan:
        """The plan of an element that a path leads to."""
        plan = self
        for tag in path:
            plan = plan.inside.setdefault(tag, Plan())
        return plan


def parse(model: type[M], data: bytes | str) -> M:
    """Read a document whose root is the model's element.

    Raises:
        ConfError: kind "xml" or "xml_detail"; the message names the element.
    """
    root = parse_tree(data)
    expected = model.__element__  # type: ignore[attr-defined]
    if root.tag != expanded(expected):
        found = f"'{root.tag}'" if isinstance(root.tag, str) else "something else"
        detail = f"expecting root element of '{expected}', not {found}"
        raise ConfError("xml", detail, expected)
    return read(model, root)


def read(model: type[M], node: etree._Element) -> M:
    """Read one element.

    Raises:
        ConfError: kind "xml", naming the place, for text that a field does not take.
    """
    values: Values = {}
    plan = plan_of(model)
    unexpected = getattr(model, "__unexpected__", None)
    if unexpected is not None:
        _refuse_unknown(plan, node, unexpected)
    _take(plan, node, values)
    made = model(**values)
    finish = getattr(made, "after_read", None)
    if finish is not None:
        try:
            finish()
        except ValueError as error:
            detail = f"Invalid value in element '{node.tag}': {error}"
            raise ConfError("xml", detail, _path(node)) from None
    return made


_PLANS: dict[type, Plan] = {}


def plan_of(model: type) -> Plan:
    """The plan of a class, compiled at its first use."""
    known = _PLANS.get(model)
    if known is not None:
        return known
    plan = _PLANS[model] = Plan()
    for place in dataclasses.fields(model):
        spec = place.metadata.get(KEY)
        if spec is None:
            continue
        if spec.kind == "attribute":
            at = plan.at(spec.path)
            at.attributes.append((spec.name, place.name, spec))
            if spec.required or spec.present is not None:
                at.missing.append((place.name, spec))
        elif spec.kind == "text":
            plan.at(spec.path).text = (place.name, spec)
        else:
            steps = [expanded(step) for step in [*spec.wrap.split("/"), *spec.path] if step]
            at = plan.at(tuple(steps[:-1]))
            at.fields.setdefault(steps[-1], []).append((place.name, spec))
    return plan


def expanded(tag: str) -> str:
    """A tag as the parser gives it: "qemu:arg" has its namespace in full."""
    prefix, colon, name = tag.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{name}" if colon else tag


def _refuse_unknown(plan: Plan, node: etree._Element, unexpected: str) -> None:
    """Refuse children of an element that says what it calls those that it does not know."""
    for inner in node:
        tag = inner.tag
        if isinstance(tag, str) and tag not in plan.inside and tag not in plan.fields:
            raise ConfError("config_unsupported", f"{unexpected} '{tag}'", _path(node))


def _take(plan: Plan, node: etree._Element, values: Values) -> None:
    for attribute, name, spec in plan.attributes:
        found = node.get(attribute)
        if found is not None:
            values.setdefault(name, _converted(spec, found, node, attribute))
    for name, spec in plan.missing:
        if name not in values:
            values[name] = _present(spec, node)
    if plan.text is not None:
        _take_text(*plan.text, node, values)
    if not plan.fields and not plan.inside:
        return
    for inner in node:
        tag = inner.tag
        deeper = plan.inside.get(tag)
        if deeper is not None:
            _take(deeper, inner, values)
        for name, spec in plan.fields.get(tag, ()):
            _TAKERS[spec.kind](name, spec, inner, values)


def _take_text(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    found = node.text or ""
    if found or spec.omit != "":  # else it is not written either
        values.setdefault(name, _converted(spec, found, node, ""))


def _present(spec: Spec, node: etree._Element) -> object:
    """What an element without the attribute says."""
    if spec.required:
        detail = f"Missing required attribute '{spec.name}' in element '{node.tag}'"
        raise ConfError(spec.bad or "xml", detail, _path(node))
    return spec.present


def _take_child(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    if name not in values:
        values[name] = read(_class_of(spec, node), node)


def _take_children(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    values.setdefault(name, []).append(read(_class_of(spec, node), node))


def _take_texts(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    values.setdefault(name, []).append(_converted(spec, node.text or "", node, ""))


def _take_flag(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    values[name] = True


def _take_verbatim(name: str, spec: Spec, node: etree._Element, values: Values) -> None:
    if name not in values:
        kept = deepcopy(node)
        if spec.prune is not None:
            spec.prune(kept)
        values[name] = _laid_out(kept)


def _laid_out(node: etree._Element) -> str:
    """An element's text as it stands one level deep, without the first line's indent."""
    holder = etree.Element("x")
    holder.append(node)
    written = etree.tostring(holder, encoding="unicode", pretty_print=True)
    return written.removeprefix("<x>\n").rstrip().removesuffix("</x>").strip()


_TAKERS: dict[str, Callable[[str, Spec, etree._Element, Values], None]] = {
    "child": _take_child,
    "children": _take_children,
    "texts": _take_texts,
    "flag": _take_flag,
    "verbatim": _take_verbatim,
}


def _class_of(spec: Spec, node: etree._Element) -> type:
    if isinstance(spec.model, FunctionType):
        return cast("type", spec.model())
    if not isinstance(spec.model, Choice):
        return cast("type", spec.model)
    word = node.get(spec.model.by, spec.model.default)
    chosen = spec.model.classes.get(word)
    if chosen is None:
        raise wrong(node, spec.model.by, word)
    return chosen


def _converted(spec: Spec, found: str, node: etree._Element, attribute: str) -> object:
    try:
        return spec.read(found)
    except (ValueError, KeyError):
        raise wrong(node, attribute, found, spec.bad or "xml") from None


def wrong(node: etree._Element, attribute: str, found: str, kind: str = "xml") -> ConfError:
    """The refusal of some text."""
    path = _path(node)
    where = f"attribute '{attribute}' in element" if attribute else "text of element"
    detail = f"Invalid value for {where} '{node.tag}': '{found}'"
    return ConfError(kind, detail, f"{path}/@{attribute}" if attribute else path)


def _path(node: etree._Element) -> str:
    steps = [node, *node.iterancestors()]
    return "/".join(str(step.tag) for step in reversed(steps))
