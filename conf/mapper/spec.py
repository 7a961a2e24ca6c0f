"""Field specifiers: the place of each field of a model in XML.

Owns: the field specifiers and `@element`. Pure.

    @element("memballoon")
    @dataclass(slots=True, kw_only=True)
    class Memballoon:
        model: BalloonModel = attribute("@model", read=BalloonModel)
        period: int | None = attribute("stats/@period", read=int_unsigned)
        alias: Alias | None = child("alias", Alias, only="live")

A path leads through elements to an attribute (`stats/@period`), to text (`title`; `.` is the
element's own) or to an element. Fields are written in their order; those that share an element on
their paths share it in the document when they are neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lxml import etree

T = TypeVar("T")

KEY: Final = "xml"
MISSING: Final = dataclasses.MISSING

Read = Callable[[str], Any]
Write = Callable[[Any], str]
Prune = Callable[[etree._Element], None]
Check = Callable[[list[Any]], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal with libvirt's own code and message."""

    kind: str  # of the ConfError
    message: str  # {} is the value


@dataclass(frozen=True, slots=True)
class When:
    """A condition for reading a field: an attribute of the element has one of these values.

    So libvirt goes by @type: what is of other types is not looked at, however wrong it may be.
    """

    attribute: str
    values: tuple[str, ...]
    outer: bool = False  # it is an attribute of the element around


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The place of a field in XML, and how its text is read and written."""

    kind: str  # "attribute", "text", "flag", "child", "children", "verbatim"
    path: tuple[str, ...]  # elements that lead to the place
    name: str = ""  # of the attribute
    read: Read = str
    write: Write = str
    model: object = None  # the class of a child, or a Choice
    only: str = ""  # written in this mode alone: "live", "inactive" or "secure"
    wrap: str = ""  # of children: an element around all of them
    omit: object = None  # a value that is not written
    always: Callable[[Any], bool] | None = None  # values that `only` does not hold back
    error_kind: str = ""  # the kind of the ConfError for unreadable text; "" is "xml"
    default_when_absent: object = None  # an attribute's value when its element is there without it
    required: bool | Refusal = False  # an element without this attribute is refused
    empty_is_absent: bool = False  # an attribute that libvirt looks up by an XPath string
    single: str | Refusal = ""  # the error for a second such element; "" ignores it
    merge: bool = False  # of a child: what the first such element lacks is read from later ones
    read_empty: bool = False  # an empty element's text is read, too
    when: When | None = None  # the field is read of some elements only
    prune: Prune | None = None  # removes parts of an element that is kept verbatim
    check: Check | None = None  # of a list: called once all of it is read, before what follows
    first: bool = False  # what is in a second element of the path's first step is not looked at


@dataclass(frozen=True, slots=True)
class Choice:
    """A child whose class depends on an attribute."""

    by: str  # the attribute
    classes: Mapping[str, type]
    default: str = ""  # the value of a missing attribute
    missing: Refusal | None = None  # of a missing attribute
    unknown: Refusal | None = None  # of a value that has no class


def element(
    tag: str, *, omit_empty: bool = False, read_first: tuple[str, ...] = ()
) -> Callable[[type[T]], type[T]]:
    """Give a dataclass its element's name.

    Args:
        tag: the name.
        omit_empty: whether the element is not written when nothing is in it.
        read_first: fields that libvirt's parser reads before the others, in its order; the others
            are read in the order in which they are written.
    """

    def mark(model: type[T]) -> type[T]:
        model.__element__ = tag  # type: ignore[attr-defined]
        model.__omit_empty__ = omit_empty  # type: ignore[attr-defined]
        model.__read_first__ = read_first  # type: ignore[attr-defined]
        return model

    return mark


def attribute(
    path: str,
    *,
    read: Read = str,
    write: Write | None = None,
    default: Any = None,  # noqa: ANN401  (a field may be of any type)
    only: str = "",
    omit: Any = None,  # noqa: ANN401
    always: Callable[[Any], bool] | None = None,
    bad: str = "",
    present: Any = None,  # noqa: ANN401
    required: bool | Refusal = False,
    empty_is_absent: bool = False,
    single: str | Refusal = "",
    when: When | None = None,
    first: bool = False,
) -> Any:  # noqa: ANN401  (stands in a field's place, as dataclasses.field does)
    """Map a field to an attribute, at `@name` or `element/@name`.

    Args:
        path: where it is.
        read: from text; a ValueError or KeyError refuses the document.
        write: to text.
        default: the value when it is absent.
        only: the one mode in which it is written.
        omit: besides None, a value that is not written.
        always: values that are written in every mode, whatever `only` says.
        bad: the kind of the refusal, if not "xml".
        present: the value when its element is there without it.
        required: whether an element without it is refused, or how.
        empty_is_absent: treat an empty one as absent. So does libvirt with the attributes that it
            looks up by XPath (`virXPathString`), but not with those that it takes from their
            element (`virXMLPropString`).
        single: the error for a second element at the path.
        when: the elements that it is read of.
        first: the first element of the path counts even where it lacks the attribute. So it does
            where libvirt finds the element (`virXPathNode`) and then asks it for the attribute.
    """
    parts = path.split("/")
    spec = FieldSpec(
        "attribute",
        tuple(parts[:-1]),
        parts[-1].removeprefix("@"),
        read,
        write or default_write,
        only=only,
        omit=omit,
        always=always,
        error_kind=bad,
        default_when_absent=present,
        required=required,
        empty_is_absent=empty_is_absent,
        single=single,
        when=when,
        first=first,
    )
    return dataclasses.field(default=default, metadata={KEY: spec})


def text(
    path: str,
    *,
    read: Read = str,
    write: Write | None = None,
    default: Any = None,  # noqa: ANN401
    only: str = "",
    omit: Any = None,  # noqa: ANN401
    read_empty: bool = False,
    single: str | Refusal = "",
    when: When | None = None,
    first: bool = False,
) -> Any:  # noqa: ANN401
    """Map a field to a child element's text, or to the element's own for `.`; see `attribute`.

    An empty child element counts as absent, unless `read_empty`: then "" is read.
    """
    parts = () if path == "." else tuple(path.split("/"))
    spec = FieldSpec(
        "text",
        parts,
        "",
        read,
        write or default_write,
        only=only,
        omit=omit,
        read_empty=read_empty,
        single=single,
        when=when,
        first=first,
    )
    return dataclasses.field(default=default, metadata={KEY: spec})


def flag(path: str, *, only: str = "") -> Any:  # noqa: ANN401
    """Map a bool to an empty element: whether it is present."""
    spec = FieldSpec("flag", tuple(path.split("/")), only=only)
    return dataclasses.field(default=False, metadata={KEY: spec})


def child(
    path: str,
    model: object,
    *,
    only: str = "",
    single: str | Refusal = "",
    merge: bool = False,
    when: When | None = None,
    first: bool = False,
    empty_is_absent: bool = False,
) -> Any:  # noqa: ANN401
    """Map a field to a child element with its own model or Choice; None when absent.

    The first such element counts; `single` is the error that refuses a second one. With `merge`
    each of its parts comes from the first element that has it, as where libvirt looks up each
    part by an XPath expression of its own ("./target/path"). With `empty_is_absent` an element
    without text is none, as libvirt has it with sizes. `first` is as of `attribute`.
    """
    spec = FieldSpec(
        "child",
        tuple(path.split("/")),
        model=model,
        only=only,
        single=single,
        merge=merge,
        when=when,
        first=first,
        empty_is_absent=empty_is_absent,
    )
    return dataclasses.field(default=None, metadata={KEY: spec})


def children(
    path: str,
    model: object,
    *,
    only: str = "",
    when: When | None = None,
    check: Check | None = None,
    first: bool = False,
) -> Any:  # noqa: ANN401
    """Map a list to child elements of a name; `wrapper/name` has an element around them.

    `check` refuses elements that contradict each other. It is called when all of them have been
    read, and before the fields that follow: so libvirt's parser does.
    """
    parts = path.split("/")
    spec = FieldSpec(
        "children",
        tuple(parts[-1:]),
        model=model,
        only=only,
        wrap="/".join(parts[:-1]),
        when=when,
        check=check,
        first=first,
    )
    return dataclasses.field(default_factory=list, metadata={KEY: spec})


def texts(
    path: str, *, read: Read = str, write: Write | None = None, when: When | None = None
) -> Any:  # noqa: ANN401
    """Map a list to the text of every child element of a name, in order."""
    parts = path.split("/")
    spec = FieldSpec(
        "texts",
        tuple(parts[-1:]),
        "",
        read,
        write or default_write,
        wrap="/".join(parts[:-1]),
        when=when,
    )
    return dataclasses.field(default_factory=list, metadata={KEY: spec})


def verbatim(path: str, *, prune: Prune | None = None) -> Any:  # noqa: ANN401
    """Map a field to a child element kept as text, such as <metadata>."""
    spec = FieldSpec("verbatim", tuple(path.split("/")), prune=prune)
    return dataclasses.field(default=None, metadata={KEY: spec})


def default_write(value: object) -> str:
    """Write booleans as yes and no, everything else as text."""
    if value is True:
        return "yes"
    if value is False:
        return "no"
    return str(value)
