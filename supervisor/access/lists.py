"""Lists of objects in answers: how they are asked for in full and cut to what clients may see.

Owns: the four forms in which libvirt's calls list objects. Pure.
May not touch: who may see what.

A list is filtered before it is cut to the client's limit, and counts are of what is left: the
client cannot tell a hidden object from one that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Final
from uuid import UUID

from rpc.table import Procedure, load
from rpc.values import Domain, Secret

#: The call that lists the objects of a type in full.
FULL_LISTS: Final = {
    "domain": "connect_list_all_domains",
    "network": "connect_list_all_networks",
    "storage_pool": "connect_list_all_storage_pools",
    "storage_vol": "storage_pool_list_all_volumes",
    "interface": "connect_list_all_interfaces",
    "node_device": "connect_list_all_node_devices",
    "nwfilter": "connect_list_all_nwfilters",
    "secret": "connect_list_all_secrets",
}
NEED: Final = "need_results"
LIMITS: Final = ("maxnames", "maxids", "maxuuids")


class ListForm(Enum):
    """How a call lists objects."""

    OBJECTS = auto()  # objects, if they are needed, and their number
    RECORDS = auto()  # records of domains
    KEYS = auto()  # names, numbers or UUIDs, at most so many
    COUNT = auto()  # how many there are


def form_of(procedure: Procedure) -> ListForm | None:
    """Return the form of a procedure's list; None: it lists none, as one that registers events."""
    names = {field.name for field in procedure.args}
    if NEED in names:
        return ListForm.OBJECTS
    if names & set(LIMITS):
        return ListForm.KEYS
    if "_num_of_" in procedure.name:
        return ListForm.COUNT
    return ListForm.RECORDS if procedure.name == "connect_get_all_domain_stats" else None


def widen(procedure: Procedure, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments that ask for the whole list."""
    most = procedure.ret[0].type.limit if procedure.ret else None
    return tuple(
        1 if field.name == NEED else most if field.name in LIMITS else value
        for field, value in zip(procedure.args, arguments, strict=True)
    )


def cut(procedure: Procedure, arguments: Sequence[Any], keys: list[Any]) -> list[Any]:
    """Cut a list of keys to the client's limit."""
    for field, value in zip(procedure.args, arguments, strict=True):
        if field.name in LIMITS:
            return keys[: max(0, value)]
    return keys


def needs_results(procedure: Procedure, arguments: Sequence[Any]) -> bool:
    """Return whether the client wants the objects beside their number."""
    return any(
        field.name == NEED and value for field, value in zip(procedure.args, arguments, strict=True)
    )


def counted_list(procedure: Procedure, arguments: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the call that lists what a call counts, with the arguments for the whole list."""
    listing = load().named(procedure.name.replace("_num_of_", "_list_"))
    given = {field.name: value for field, value in zip(procedure.args, arguments, strict=True)}
    return listing.name, widen(listing, tuple(given.get(f.name, 0) for f in listing.args))


def keys_of(value: Any) -> tuple[object, ...]:  # noqa: ANN401  (an object of any type)
    """Return what lists may call an object."""
    match value:
        case Domain(name, _, number):
            return name, number
        case Secret(uuid, _, _):
            return (str(UUID(bytes=uuid)),)
    return (value.name,)
