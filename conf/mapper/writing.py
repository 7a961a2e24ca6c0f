"""Writes models as XML, laid out as libvirt does: two spaces a level, single quotes.

Owns: the write plan of each class, compiled once.
May not touch: the meaning of a model.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from conf.mapper.spec import KEY, FieldSpec

_ESCAPES: Final = {
    **dict.fromkeys([*range(32), 0xFFFE, 0xFFFF]),  # no document may have these
    ord("\t"): "\t",
    ord("\n"): "\n",
    ord("\r"): "&#13;",
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("'"): "&apos;",
    ord('"'): "&quot;",
}
_ATTRIBUTE_ESCAPES: Final = {**_ESCAPES, ord("\t"): "&#9;", ord("\n"): "&#10;"}
#: Few texts need it, and `str.translate` takes four times as long.
_needs_escape: Final = re.compile(f"[{re.escape(''.join(map(chr, _ESCAPES)))}]").search


@dataclass(frozen=True, slots=True)
class Mode:
    """What a document is for."""

    live: bool = False  # of a running guest, with ids, aliases and ports
    secure: bool = False  # with secrets

    def writes(self, only: str) -> bool:
        """Return whether fields of such a kind are written."""
        if not only:
            return True
        return {"live": self.live, "inactive": not self.live, "secure": self.secure}[only]


@dataclass(slots=True)
class WritePlan:
    """One element on the way to some fields: its attributes, its text, what is inside."""

    tag: str = ""
    attributes: list[tuple[str, FieldSpec]] = field(default_factory=list)
    text: tuple[str, FieldSpec] | None = None
    inside: list[WritePlan | tuple[str, FieldSpec]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of all fields in it
    place_of: dict[str, int] = field(default_factory=dict)  # of a field in `inside`, once needed

    def places(self, names: Set[str]) -> list[int]:
        """Return where in `inside` fields of these names are, in order."""
        if not self.place_of:
            for place, item in enumerate(self.inside):
                for name in item.names if isinstance(item, WritePlan) else item[:1]:
                    self.place_of[name] = place
        return sorted({self.place_of[name] for name in names if name in self.place_of})

    def has_any(self, model: Any) -> bool:  # noqa: ANN401
        """Return whether any of its fields may have something to write."""
        for name in self.names:
            value = getattr(model, name)
            if value is not None and value != []:
                return True
        return False


def write(model: object, mode: Mode, *, level: int = 0, tag: str = "") -> str:
    """Write a model as a document; the text ends with a line end."""
    lines: list[str] = []
    write_element(model, mode, lines, level, tag)
    return "\n".join(lines) + "\n"


def write_element(model: object, mode: Mode, lines: list[str], level: int, tag: str = "") -> None:
    """Add a model's lines.

    Its `before_write` may put another in its place, or None for nothing; its `write_whole` may add
    them, and says whether it has.
    """
    prepare = getattr(model, "before_write", None)
    if prepare is not None:
        model = prepare(mode)
        if model is None:
            return
    whole = getattr(model, "write_whole", None)
    if whole is not None and whole(mode, lines, level):
        return
    name = tag or model.__element__  # type: ignore[attr-defined]
    keep = not getattr(model, "__omit_empty__", False)
    _part(_write_plan(type(model)), name, model, mode, lines, level, keep=keep)


def write_parts(
    model: object, mode: Mode, before: Sequence[str] = (), changed: Set[str] = frozenset()
) -> list[str]:
    """Write what is directly inside a model's element, part by part, for `join_parts`.

    Args:
        model: to be written.
        mode: what the document is for.
        before: the parts of the model as it was, or of one that it shares the other fields with.
        changed: the fields that may have changed since; without `before` all are written.
    """
    plan, tag = _write_plan(type(model)), model.__element__  # type: ignore[attr-defined]
    texts = list(before) or [""] * len(plan.inside)
    for place in plan.places(changed) if before else range(len(texts)):
        item = plan.inside[place]
        lines: list[str] = []
        _part(WritePlan(inside=[item]), tag, model, mode, lines, 0, keep=False)
        texts[place] = "".join(f"{line}\n" for line in lines[1:-1])
    return texts


def join_parts(model: object, mode: Mode, parts: Sequence[str]) -> str:
    """Make the document of parts, as `write` does of the whole model."""
    tag: str = model.__element__  # type: ignore[attr-defined]
    attributes = _attributes(_write_plan(type(model)), model, mode)
    return f"<{tag}{attributes}>\n{''.join(parts)}</{tag}>\n"


_PLANS: dict[type, WritePlan] = {}


def _write_plan(model: type) -> WritePlan:
    compiled = _PLANS.get(model)
    if compiled is not None:
        return compiled
    plan = _PLANS[model] = WritePlan()
    for place in dataclasses.fields(model):
        spec = place.metadata.get(KEY)
        if spec is None:
            continue
        if spec.kind == "attribute":
            _element_at(plan, spec.path, place.name).attributes.append((place.name, spec))
        elif spec.kind == "text":
            _element_at(plan, spec.path, place.name).text = (place.name, spec)
        else:
            way = (*filter(None, spec.wrap.split("/")), *spec.path)[:-1]
            _element_at(plan, way, place.name).inside.append((place.name, spec))
    return plan


def _element_at(plan: WritePlan, path: tuple[str, ...], name: str) -> WritePlan:
    """Find the element that a field is written to: the newest on its path, shared by neighbours."""
    for tag in path:
        last = plan.inside[-1] if plan.inside else None
        if not isinstance(last, WritePlan) or last.tag != tag:
            existing = [p for p in plan.inside if isinstance(p, WritePlan) and p.tag == tag]
            last = existing[0] if existing else WritePlan(tag)
            if not existing:
                plan.inside.append(last)
        plan = last
        plan.names.append(name)
    return plan


def _part(
    part: WritePlan,
    tag: str,
    model: Any,  # noqa: ANN401
    mode: Mode,
    lines: list[str],
    level: int,
    *,
    keep: bool,
) -> None:
    """Add one element's lines, unless nothing is in it and it need not be kept."""
    pad = "  " * level
    attributes = _attributes(part, model, mode)
    inner = None
    if part.text is not None:
        inner = _text(getattr(model, part.text[0]), part.text[1], mode)
    start = len(lines)
    lines.append("")  # the opening line's place
    for item in part.inside:
        if not isinstance(item, WritePlan):
            value = getattr(model, item[0])
            if value:  # a model is true; most lists are empty
                _field(item[1], value, mode, lines, level + 1)
        elif item.has_any(model):
            _part(item, item.tag, model, mode, lines, level + 1, keep=False)
    if len(lines) > start + 1:
        lines[start] = f"{pad}<{tag}{attributes}>"
        lines.append(f"{pad}</{tag}>")
    elif inner is not None and (inner or not attributes):
        lines[start] = f"{pad}<{tag}{attributes}>{_escaped(inner)}</{tag}>"
    elif attributes or keep:
        lines[start] = f"{pad}<{tag}{attributes}/>"
    else:
        lines.pop()


def _attributes(part: WritePlan, model: Any, mode: Mode) -> str:  # noqa: ANN401
    written = ""
    for name, spec in part.attributes:
        value = getattr(model, name)
        if value is not None and (formatted := _text(value, spec, mode)) is not None:
            escaped = formatted if formatted.isalnum() else escape_attribute(formatted)
            written += f" {spec.name}='{escaped}'"
    return written


def _field(spec: FieldSpec, value: Any, mode: Mode, lines: list[str], level: int) -> None:  # noqa: ANN401
    if not mode.writes(spec.only):
        return
    pad = "  " * level
    tag = spec.path[-1]
    if spec.kind == "flag":
        lines.append(f"{pad}<{tag}/>")
    elif spec.kind == "child":
        write_element(value, mode, lines, level, tag)
    elif spec.kind == "children":
        for item in value:
            write_element(item, mode, lines, level, tag)
    elif spec.kind == "texts":
        lines.extend(f"{pad}<{tag}>{_escaped(spec.write(item))}</{tag}>" for item in value)
    else:
        lines.append(pad + value)


def _text(value: object, spec: FieldSpec, mode: Mode) -> str | None:
    if value is None or value == spec.omit:
        return None
    if spec.only and not mode.writes(spec.only) and (spec.always is None or not spec.always(value)):
        return None
    return spec.write(value)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if _needs_escape(text) else text


def escape_attribute(text: str) -> str:
    """Escape the value of an attribute."""
    return text.translate(_ATTRIBUTE_ESCAPES) if _needs_escape(text) else text
