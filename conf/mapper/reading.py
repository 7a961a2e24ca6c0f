"""Reads lxml elements into models.

Owns: the read plan of each class, compiled once.
May not touch: the meaning of a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.mapper.spec import KEY, Choice, FieldSpec, Refusal, When

M = TypeVar("M")

Values = dict[str, Any]
Reader = Callable[["ReadStep", "list[etree._Element]", Values], None]

MAX_COMBINATIONS: Final = 64  # of an element's parts, whose steps a class keeps

#: The namespaces that libvirt's documents know by these prefixes.
NAMESPACES: Final = {
    "qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
    "lxc": "http://libvirt.org/schemas/domain/lxc/1.0",
    "dnsmasq": "http://libvirt.org/schemas/network/dnsmasq/1.0",
    "fs": "http://libvirt.org/schemas/storagepool/fs/1.0",
    "rbd": "http://libvirt.org/schemas/storagepool/rbd/1.0",
}


@dataclass(frozen=True, slots=True)
class ReadStep:
    """One field: where it is, and how its text is read."""

    name: str
    spec: FieldSpec
    path: tuple[str, ...]  # the elements that lead to it, its own included
    outer: tuple[str, ...]  # those without its own; computed once, for each element is read so
    reader: Reader  # of the field's kind


class Elements:
    """The elements inside one or more others, by their path from there."""

    __slots__ = ("_at", "_listed", "names", "nodes")

    def __init__(self, nodes: list[etree._Element]) -> None:
        self.nodes: Final = nodes
        self._at: dict[tuple[str, ...], list[etree._Element]] = {}
        self._listed: set[tuple[str, ...]] | None = None  # the outer paths that `_at` has, but ()
        self.names: set[str] = set()  # of the attributes and children of `nodes`
        for node in nodes:
            self.names.update(cast("list[str]", node.keys()))
            for inner in node:
                tag = inner.tag
                if isinstance(tag, str):
                    self.names.add(tag)
                    self._at.setdefault((tag,), []).append(inner)

    def at(self, path: tuple[str, ...], outer: tuple[str, ...]) -> list[etree._Element]:
        """Return the elements at a path, whose outer part is given too, in document order."""
        if outer:
            self._list(outer)
        return self._at.get(path, [])

    def _list(self, outer: tuple[str, ...]) -> None:
        if self._listed is None:
            self._listed = set()
        if outer in self._listed:
            return
        self._listed.add(outer)
        for node in self.at(outer, outer[:-1]):
            for inner in node:
                if isinstance(inner.tag, str):
                    self._at.setdefault((*outer, inner.tag), []).append(inner)


def parse(model: type[M], data: bytes | str) -> M:
    """Read a document whose root is the model's element.

    Raises:
        ConfError: kind "xml" or "xml_detail"; the message names the element.
    """
    return read(model, parse_root(model, data))


def parse_root(model: type, data: bytes | str) -> etree._Element:
    """Parse a document whose root is the model's element, without reading the model.

    Raises:
        ConfError: kind "xml" or "xml_detail"; the message names the element.
    """
    root = parse_tree(data)
    expected: str = model.__element__  # type: ignore[attr-defined]
    if root.tag != qualified_tag(expected):
        tag = f"'{root.tag}'" if isinstance(root.tag, str) else "something else"
        detail = f"expecting root element of '{expected}', not {tag}"
        raise ConfError("xml", detail, expected)
    return root


def read(model: type[M], node: etree._Element, *repeated: etree._Element) -> M:
    """Read one element.

    Args:
        model: its class. A static method `before_read` of it is called with the element before
            any field is read: for what libvirt checks first. Of a child's class, a `read_whole`
            may read the element in a shorter way, or return None.
        node: the element.
        repeated: further elements of the same name, for a child with `merge`.

    Raises:
        ConfError: kind "xml", naming the place, for text that a field does not take.
    """
    plan = _READ_PLANS.get(model) or read_plan(model)
    if plan.before_read is not None:
        plan.before_read(node)
    values: Values = {}
    elements = Elements([node, *repeated])
    if plan.unexpected is not None:
        _check_unknown(plan.steps, node, plan.unexpected)
    for step in plan.steps_for(elements.names):
        nodes = elements.at(step.path, step.outer) if step.path else elements.nodes
        if len(nodes) > 1:
            _check_single(step.spec, nodes)
        if step.spec.first and nodes:
            nodes = _in_first(step, nodes, elements)
        if step.spec.when is None or _applies(step.spec.when, node):
            step.reader(step, nodes, values)
    instance = model(**values)
    if plan.has_after_read:
        try:
            instance.after_read()  # type: ignore[attr-defined]
        except ValueError as error:
            detail = f"Invalid value in element '{node.tag}': {error}"
            raise ConfError("xml", detail, element_path(node)) from None
    return instance


class ReadPlan:
    """The steps that read a class, and those of them that an element needs.

    A class has many more fields than an element has parts: the steps for each combination of
    parts are selected once.
    """

    __slots__ = ("_by_names", "_names", "before_read", "has_after_read", "steps", "unexpected")

    def __init__(self, model: type, steps: list[ReadStep]) -> None:
        self.steps: Final = steps
        self.before_read: Final[Callable[[etree._Element], None] | None] = getattr(
            model, "before_read", None
        )
        self.has_after_read: Final = hasattr(model, "after_read")
        self.unexpected: Final[str | None] = getattr(model, "__unexpected__", None)
        self._names: Final = frozenset(name for step in steps if (name := _sought_name(step)))
        self._by_names: Final[dict[frozenset[str], list[ReadStep]]] = {}

    def steps_for(self, names: set[str]) -> list[ReadStep]:
        """Return the steps that can find something, in their order.

        Args:
            names: of an element's attributes and children.
        """
        known = self._names & names
        selected = self._by_names.get(known)
        if selected is None:
            if len(self._by_names) >= MAX_COMBINATIONS:  # clients choose the combinations
                self._by_names.clear()
            selected = self._by_names[known] = [
                step for step in self.steps if not (name := _sought_name(step)) or name in known
            ]
        return selected


def _sought_name(step: ReadStep) -> str:
    """Return the attribute or child without which a step does nothing; "" if it always acts."""
    if step.path:
        return step.path[0]
    acts_on_absence = step.spec.required or step.spec.default_when_absent is not None
    return step.spec.name if step.spec.kind == "attribute" and not acts_on_absence else ""


_READ_PLANS: dict[type, ReadPlan] = {}


def read_plan(model: type) -> ReadPlan:
    """Return the plan that reads a class in libvirt's order, compiled at its first use.

    Of several faults in a document the one that libvirt's parser meets first is reported, and that
    parser goes by elements of its own choice, not by their order in the document. So the fields
    are read in the model's order, but for those that `element` was told to read first.
    """
    compiled = _READ_PLANS.get(model)
    if compiled is not None:
        return compiled
    steps = [
        ReadStep(place.name, spec, path, path[:-1], _READERS[spec.kind])
        for place in dataclasses.fields(model)
        if KEY in place.metadata
        for spec in [place.metadata[KEY]]
        for path in [_path(spec)]
    ]
    first = getattr(model, "__read_first__", ())
    rank = {name: number for number, name in enumerate(first)}
    steps.sort(key=lambda step: rank.get(step.name, len(rank)))
    plan = _READ_PLANS[model] = ReadPlan(model, steps)
    return plan


def _path(spec: FieldSpec) -> tuple[str, ...]:
    steps = [*spec.wrap.split("/"), *spec.path]
    return tuple(qualified_tag(step) for step in steps if step)


def qualified_tag(tag: str) -> str:
    """Expand the prefix of a tag ("qemu:arg") to its namespace, as the parser does."""
    prefix, colon, name = tag.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{name}" if colon else tag


def _check_unknown(plan: list[ReadStep], node: etree._Element, unexpected: str) -> None:
    """Refuse unknown children of a class with `__unexpected__`, the start of the error's text."""
    known = {step.path[0] for step in plan if step.path}
    for inner in node:
        if isinstance(inner.tag, str) and inner.tag not in known:
            detail = f"{unexpected} '{inner.tag}'"
            raise ConfError("config_unsupported", detail, element_path(node))


def _applies(when: When, node: etree._Element) -> bool:
    holder = node.getparent() if when.outer else node
    return holder is None or holder.get(when.attribute) in when.values


def _in_first(
    step: ReadStep, nodes: list[etree._Element], elements: Elements
) -> list[etree._Element]:
    """Keep the elements that are, or are inside, the first element of a path's first step."""
    if len(step.path) == 1:
        return nodes[:1]
    first = elements.at(step.path[:1], ())[0]
    return [node for node in nodes if first in node.iterancestors()]


def _check_single(spec: FieldSpec, nodes: list[etree._Element]) -> None:
    """Refuse a second element where libvirt does."""
    if spec.single and len(nodes) > 1:
        single = spec.single
        refusal = single if isinstance(single, Refusal) else Refusal("xml", single)
        raise ConfError(refusal.kind, refusal.message, element_path(nodes[0]))


def _read_attribute(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    spec = step.spec
    for node in nodes:  # the first that has it counts; the others are not looked at
        value = node.get(spec.name)
        if value or (value is not None and not spec.empty_is_absent):
            values[step.name] = _convert(spec, value, node, spec.name)
            return
        if spec.required or spec.default_when_absent is not None:
            values[step.name] = _value_when_absent(spec, node)
            return


def _read_text(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    spec = step.spec
    if nodes:  # XPath's string() is of the first, empty or not
        content = string_value(nodes[0])
        # An empty string is no element at all to libvirt.
        if content or spec.read_empty or (not spec.path and spec.omit != ""):
            values[step.name] = _convert(spec, content, nodes[0], "")


def string_value(node: etree._Element) -> str:
    """Return an element's text as XPath's string() has it: with that of the elements inside."""
    if len(node):
        return "".join(str(part) for part in node.itertext())
    return node.text or ""


def _value_when_absent(spec: FieldSpec, node: etree._Element) -> object:
    """Return the value of an attribute that is not there."""
    if isinstance(spec.required, Refusal):
        raise ConfError(spec.required.kind, spec.required.message, element_path(node))
    if spec.required:
        detail = f"Missing required attribute '{spec.name}' in element '{node.tag}'"
        raise ConfError(spec.error_kind or "xml", detail, element_path(node))
    return spec.default_when_absent


def _read_child(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    spec = step.spec
    if not nodes or (spec.empty_is_absent and not string_value(nodes[0])):
        return
    first, *others = nodes
    model = class_of(spec, first)
    read_whole = getattr(model, "read_whole", None)
    whole = read_whole(first) if read_whole is not None else None
    values[step.name] = whole or read(model, first, *(others if spec.merge else ()))


def _read_children(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    if not nodes:
        return
    items: list[Any] = [read(class_of(step.spec, node), node) for node in nodes]
    if step.spec.check is not None:
        step.spec.check(items)
    values[step.name] = items


def _read_texts(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    if nodes:
        values[step.name] = [_convert(step.spec, string_value(node), node, "") for node in nodes]


def _read_flag(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    if nodes:
        values[step.name] = True


def _read_verbatim(step: ReadStep, nodes: list[etree._Element], values: Values) -> None:
    if nodes:
        kept = deepcopy(nodes[0])
        if step.spec.prune is not None:
            step.spec.prune(kept)
        values[step.name] = _indented_text(kept)


def _indented_text(node: etree._Element) -> str:
    """Serialise an element indented by one level, without the first line's indent."""
    holder = etree.Element("x")
    holder.append(node)
    written = etree.tostring(holder, encoding="unicode", pretty_print=True)
    return written.removeprefix("<x>\n").rstrip().removesuffix("</x>").strip()


_READERS: Final[dict[str, Reader]] = {
    "attribute": _read_attribute,
    "text": _read_text,
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
    text = node.get(spec.model.by)
    if text is None and not spec.model.default and spec.model.missing is not None:
        raise ConfError(spec.model.missing.kind, spec.model.missing.message, element_path(node))
    text = spec.model.default if text is None else text
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
