"""Variables of filters: `$NAME`, `$NAME[2]`, `$NAME[@1]`, and their combinations. Pure.

Owns: reading references, and going through lists. Pure.
Source: libvirt 9.0 formatnwfilter, "Usage of variables in filters", "Element and iterator access".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from conf.nwfilter.attribute_types import VARIABLE
from rpc.errors import ErrorCode, ErrorDomain, VirError

Variables = Mapping[str, tuple[str, ...]]

MAX_RULES: Final = 4096  # that one rule may become by its lists


@dataclass(frozen=True, slots=True)
class VariableRef:
    """A reference to a variable."""

    name: str
    iterator: int | None  # references with the same iterator go through their lists side by side
    element: int | None  # one element of the list

    def __str__(self) -> str:
        """Format the reference as libvirt does in messages."""
        if self.element is not None:
            return f"{self.name}[{self.element}]"
        return f"{self.name}[@{self.iterator}]" if self.iterator else self.name


def parse_reference(text: str) -> VariableRef | None:
    """Parse an attribute's value; None: it is no reference."""
    match = VARIABLE.fullmatch(text)
    if match is None:
        return None
    name, at, number = match.groups()
    if number is None:
        return VariableRef(name, 0, None)
    return VariableRef(name, int(number), None) if at else VariableRef(name, None, int(number))


def unresolved_references(values: Mapping[str, str], variables: Variables) -> list[VariableRef]:
    """List the references without a value."""
    wanted = [found for text in values.values() if (found := parse_reference(text)) is not None]
    return [one for one in wanted if not _has(one, variables)]


def combinations(values: Mapping[str, str], variables: Variables) -> Iterator[dict[str, str]]:
    """Yield the attributes for each combination of list elements, without repetition.

    Raises:
        VirError: INTERNAL_ERROR: a variable has no value, lists that go side by side have different
            lengths, or there are too many combinations.
    """
    found = {key: at for key, text in values.items() if (at := parse_reference(text)) is not None}
    absent = unresolved_references(values, variables)
    if absent:
        raise unresolvable(absent)
    lengths: dict[int, int] = {}
    for at in found.values():
        if at.iterator is not None:
            size = len(variables[at.name])
            if lengths.setdefault(at.iterator, size) != size:
                detail = f"list of variable '{at.name}' has another length than its neighbour's"
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
    yield from _combined(values, variables, found, lengths)


def _combined(
    values: Mapping[str, str],
    variables: Variables,
    found: Mapping[str, VariableRef],
    lengths: Mapping[int, int],
) -> Iterator[dict[str, str]]:
    seen: set[tuple[str, ...]] = set()
    for count, places in enumerate(product(*(range(size) for size in lengths.values()))):
        if count >= MAX_RULES:
            detail = f"the lists of one rule make more than {MAX_RULES} rules"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
        at = dict(zip(lengths, places, strict=True))
        told = {
            key: _value(found[key], variables, at) if key in found else text
            for key, text in values.items()
        }
        mark = tuple(told.values())
        if mark not in seen:
            seen.add(mark)
            yield told


def unresolvable(absent: list[VariableRef]) -> VirError:
    """INTERNAL_ERROR: variables have no value."""
    names = ", ".join(dict.fromkeys(str(one) for one in absent))
    detail = (
        "Cannot instantiate filter due to unresolvable variables or unavailable list elements: "
        f"{names}"
    )
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)


def _has(wanted: VariableRef, variables: Variables) -> bool:
    values = variables.get(wanted.name, ())
    return len(values) > (wanted.element or 0)


def _value(wanted: VariableRef, variables: Variables, places: Mapping[int, int]) -> str:
    values = variables[wanted.name]
    if wanted.element is not None:
        return values[wanted.element]
    return values[places[wanted.iterator or 0]]
