"""Parses filters, with libvirt's error messages. Pure.

Owns: parsing and its errors.
Source: libvirt 9.0; corpus/nwfilter.jsonl.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.mapper.safe_parse import parse_tree
from conf.nwfilter.attribute_types import variable
from conf.nwfilter.model import (
    CHAIN_PRIORITIES,
    DEFAULT_PRIORITY,
    PRIORITIES,
    ROOT,
    Filter,
    Reference,
    Rule,
    chain_priority,
)
from conf.nwfilter.protocols import PROTOCOLS
from conf.types.integer import c_integer
from conf.types.uuid import parse_uuid

ACTIONS: Final = ("drop", "accept", "reject", "return", "continue")
DIRECTIONS: Final = ("in", "out", "inout")
FILTER_ATTRIBUTES: Final = ("name", "chain", "priority")
RULE_ATTRIBUTES: Final = ("action", "direction", "priority", "statematch")
VARIABLE_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
# Characters of addresses and names; none can end a quotation or begin an option.
VARIABLE_VALUE: Final = re.compile(r"[A-Za-z0-9._:]+")
CHAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.:\-]+")
MAX_CHAIN: Final = 31 - len("I-") - 15 - len("-")  # beside the longest tap's name in ebtables
MAX_ENTRIES: Final = 10_000


def parse_filter(data: bytes | str) -> Filter:
    """Parse a filter.

    Raises:
        ConfError: kinds "xml", "xml_detail", "internal", "invalid_arg", "config_unsupported".
    """
    root = parse_tree(data)
    if root.tag != "filter":
        raise ConfError("xml", f"unknown root element for nw filter: <{root.tag}>", "/filter")
    name = root.get("name") or ""
    if not name:
        raise ConfError("internal", "filter has no name", "/filter")
    if "/" in name or name in (".", ".."):
        raise ConfError("xml", f"name {name} cannot contain '/'", "/filter")
    chain, priority = _chain(root)
    uuid = _uuid(root)  # before the rules, as libvirt: of two mistakes it reports this one
    _check_attributes(root, FILTER_ATTRIBUTES)
    children = _elements(root, known=("uuid", "rule", "filterref"))
    nodes = [node for node in children if node.tag != "uuid"]
    if len(nodes) > MAX_ENTRIES:
        raise ConfError("xml", f"the filter has more than {MAX_ENTRIES} rules", "/filter")
    entries = tuple(_rule(node) if node.tag == "rule" else read_reference(node) for node in nodes)
    return Filter(name=name, uuid=uuid, chain=chain, priority=priority, entries=entries)


def read_reference(node: etree._Element) -> Reference:
    """Parse a <filterref>; parameters of one name make a list.

    Raises:
        ConfError: kind "internal".
    """
    name = node.get("filter")
    if not name:
        raise ConfError("internal", "filterref needs the attribute filter", "/filter/filterref")
    return Reference(filter=name, variables=read_parameters(node))


def read_parameters(node: etree._Element) -> Mapping[str, tuple[str, ...]]:
    """Parse the <parameter>s of a <filterref>; like libvirt, skip invalid names and values."""
    parameters: dict[str, tuple[str, ...]] = {}
    for parameter in node.iterfind("parameter"):
        name, value = parameter.get("name") or "", parameter.get("value") or ""
        if can_be_parameter(name, value):
            parameters[name] = (*parameters.get(name, ()), value)
    return parameters


def can_be_parameter(name: str, value: str) -> bool:
    """Return whether a variable may have this name and value."""
    return bool(VARIABLE_NAME.fullmatch(name) and VARIABLE_VALUE.fullmatch(value))


def _uuid(root: etree._Element) -> str:
    text = root.findtext("uuid")
    if not text:  # libvirt's XPath strings have no empty value: it is as if it were not there
        return ""
    try:
        return parse_uuid(text)
    except ValueError:
        raise ConfError("xml", "malformed uuid element", "/filter/uuid") from None


def _chain(root: etree._Element) -> tuple[str, int]:
    chain = root.get("chain") or ROOT
    default = chain_priority(chain)
    if default is None:
        prefixes = ", ".join(CHAIN_PRIORITIES)
        detail = f"Invalid chain name '{chain}'. Please use a chain name called 'root' or one that "
        raise ConfError("invalid_arg", f"{detail}begins with one of: {prefixes}", "/filter/@chain")
    if CHAIN_NAME.fullmatch(chain) is None:
        raise ConfError("invalid_arg", f"Chain name '{chain}' contains invalid characters")
    if len(chain) > MAX_CHAIN:
        raise ConfError("invalid_arg", f"Name of chain is longer than {MAX_CHAIN} characters")
    text = root.get("priority")
    if text is None:
        return chain, default
    priority = _number(text)
    if priority is None:
        raise ConfError("invalid_arg", f"Could not parse chain priority '{text}'", "/filter")
    if priority not in PRIORITIES:
        detail = f"Priority '{priority}' is outside valid range [-1000,1000]"
        raise ConfError("invalid_arg", detail, "/filter/@priority")
    return chain, priority


def _rule(node: etree._Element) -> Rule:
    _check_attributes(node, RULE_ATTRIBUTES)
    action = _choice(node, "action", ACTIONS)
    direction = _choice(node, "direction", DIRECTIONS)
    priority = _number(node.get("priority") or "")
    if priority is None or priority not in PRIORITIES:
        priority = DEFAULT_PRIORITY
    statematch = (node.get("statematch") or "").lower() not in ("0", "false")
    rule = Rule(
        action=action, direction=direction, priority=priority, statematch=statematch, values={}
    )
    children = _elements(node, known=PROTOCOLS)
    if not children:
        return rule
    # Of several protocol elements libvirt reads the first, and adds later ones of the same name.
    protocol = str(children[0].tag)
    values: dict[str, str] = {}
    negated = False
    for element in children:
        if element.tag == protocol:
            values |= _values(element)
            negated = negated or element.get("match") == "no"
    if ("ipset" in values) != ("ipsetflags" in values):
        raise ConfError("internal", "ipset and ipsetflags need each other", "/filter/rule")
    # libvirt keeps match='no' in each value: without values there is nothing that it negates.
    return replace(rule, protocol=protocol, negated=negated and bool(values), values=values)


def _elements(node: etree._Element, known: Collection[str]) -> list[etree._Element]:
    """Return the child elements, each of a known name.

    An unknown one is refused: a rule that lost its protocol would match every frame.

    Raises:
        ConfError: kind "xml".
    """
    children = [child for child in node if isinstance(child.tag, str)]  # no comments
    for child in children:
        if child.tag not in known:
            detail = f"unknown element <{child.tag}> in <{node.tag!s}>"
            raise ConfError("xml", detail, f"/filter/{child.tag}")
    return children


def _check_attributes(node: etree._Element, known: Collection[str]) -> None:
    """Refuse unknown attributes: a rule that lost a condition would match more than it should.

    Raises:
        ConfError: kind "xml".
    """
    for name in node.attrib:
        if name not in known:
            detail = f"unknown attribute '{name!s}' of <{node.tag!s}>"
            raise ConfError("xml", detail, f"/filter/{node.tag!s}/@{name!s}")


def _values(element: etree._Element) -> dict[str, str]:
    """Parse the protocol's attributes; of several invalid ones the last is reported.

    Raises:
        ConfError: kinds "internal" and, for an attribute that the protocol does not have, "xml".
    """
    _check_attributes(element, {"match", *PROTOCOLS[str(element.tag)]})
    values: dict[str, str] = {}
    refused: ConfError | None = None
    for name, read in PROTOCOLS[str(element.tag)].items():
        text = element.get(name)
        if text is None:
            continue
        reference = variable(text) if name != "comment" else None
        try:
            values[name] = reference if reference is not None else read(text)
        except ValueError:
            path = f"/filter/rule/{element.tag}/@{name}"
            refused = ConfError("internal", f"{name} has illegal value {text}", path)
    if refused is not None:
        raise refused
    return values


def _choice(node: etree._Element, name: str, choices: tuple[str, ...]) -> str:
    text = node.get(name)
    if text is None:
        raise ConfError("internal", f"rule node requires {name} attribute", "/filter/rule")
    if text not in choices:
        detail = f"unknown rule {name} attribute value '{text}'; it can be {', '.join(choices)}"
        raise ConfError("config_unsupported", detail, f"/filter/rule/@{name}")
    return text


def _number(text: str) -> int | None:
    try:
        return c_integer(text) if len(text) < 12 else None
    except ValueError:
        return None
