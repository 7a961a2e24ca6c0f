"""Formats filters in libvirt's layout. Pure.

Owns: the layout. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conf.mapper.writing import _ATTRIBUTE_ESCAPES as ESCAPES
from conf.nwfilter.model import Filter, Reference, Rule, chain_priority
from conf.nwfilter.protocols import PROTOCOLS


def format_filter(filter: Filter) -> str:
    """Format a filter."""
    head = {"name": filter.name, "chain": filter.chain}
    if filter.priority != chain_priority(filter.chain):
        head["priority"] = str(filter.priority)
    lines = [f"<filter{attributes(head)}>"]
    if filter.uuid:
        lines.append(f"  <uuid>{filter.uuid}</uuid>")
    for entry in filter.entries:
        if isinstance(entry, Reference):
            lines += (f"  {line}" for line in reference(entry.filter, entry.variables))
        else:
            lines += _rule(entry)
    return "\n".join((*lines, "</filter>\n"))


def reference(name: str, variables: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Format a <filterref>, variables sorted by name."""
    head = f"<filterref{attributes({'filter': name})}"
    if not variables:
        yield f"{head}/>"
        return
    yield f"{head}>"
    for variable in sorted(variables):
        for value in variables[variable]:
            yield f"  <parameter{attributes({'name': variable, 'value': value})}/>"
    yield "</filterref>"


def attributes(values: Mapping[str, str]) -> str:
    """Format attributes, each after a space."""
    return "".join(f" {name}='{value.translate(ESCAPES)}'" for name, value in values.items())


def text(value: str) -> str:
    """Escape text."""
    return value.translate(ESCAPES)


def _rule(rule: Rule) -> Iterator[str]:
    head = {"action": rule.action, "direction": rule.direction, "priority": str(rule.priority)}
    if not rule.statematch:
        head["statematch"] = "false"
    if not rule.protocol:
        yield f"  <rule{attributes(head)}/>"
        return
    written = {name: rule.values[name] for name in PROTOCOLS[rule.protocol] if name in rule.values}
    if rule.negated:
        written = {"match": "no", **written}
    yield f"  <rule{attributes(head)}>"
    yield f"    <{rule.protocol}{attributes(written)}/>"
    yield "  </rule>"
