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
    references = [
        reference_ for text in values.values() if (reference_ := parse_reference(text)) is not None
    ]
    return [reference for reference in references if not _has(reference, variables)]


def combinations(values: Mapping[str, str], variables: Variables) -> Iterator[dict[str, str]]:
    """Yield the attributes for each combination of list elements, without repetition.

    Raises:
        VirError: INTERNAL_ERROR: a variable has no value, lists that go side by side have different
            lengths, or there are too many combinations.
    """
    references = {
        key: at for key, text in values.items() if (at := parse_reference(text)) is not None
    }
    absent = unresolved_references(values, variables)
    if absent:
        raise unresolvable(absent)
    lengths: dict[int, int] = {}
    for at in references.values():
        if at.iterator is not None:
            size = len(variables[at.name])
            if lengths.setdefault(at.iterator, size) != size:
                detail = f"list of variable '{at.name}' has another length than its neighbour's"
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
    yield from _combined(values, variables, references, lengths)


def _combined(
    values: Mapping[str, str],
    variables: Variables,
    references: Mapping[str, VariableRef],
    lengths: Mapping[int, int],
) -> Iterator[dict[str, str]]:
    seen: set[tuple[str, ...]] = set()
    # libvirt's order of rules: iterator 0, which plain `$NAME` has, goes fastest, then the others
    # in the order of attributes.
    slowest_first = [*reversed([at for at in lengths if at]), *(at for at in lengths if not at)]
    for count, places in enumerate(product(*(range(lengths[at]) for at in slowest_first))):
        if count >= MAX_RULES:
            detail = f"the lists of one rule make more than {MAX_RULES} rules"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)
        at = dict(zip(slowest_first, places, strict=True))
        combination = {
            key: _value(references[key], variables, at) if key in references else text
            for key, text in values.items()
        }
        mark = tuple(combination.values())
        if mark not in seen:
            seen.add(mark)
            yield combination


def unresolvable(absent: list[VariableRef]) -> VirError:
    """INTERNAL_ERROR: variables have no value."""
    names = ", ".join(dict.fromkeys(str(reference) for reference in absent))
    detail = (
        "Cannot instantiate filter due to unresolvable variables or unavailable list elements: "
        f"{names}"
    )
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NWFILTER)


def _has(reference: VariableRef, variables: Variables) -> bool:
    values = variables.get(reference.name, ())
    return len(values) > (reference.element or 0)


def _value(reference: VariableRef, variables: Variables, places: Mapping[int, int]) -> str:
    values = variables[reference.name]
    if reference.element is not None:
        return values[reference.element]
    return values[places[reference.iterator or 0]]
