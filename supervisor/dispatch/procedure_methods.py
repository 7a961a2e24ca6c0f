"""Methods of procedures: the check, at a service's start, that each of its calls has its method.

Owns: what the dispatcher needs of the protocol table, and that check.
May not touch: calls, the methods' objects. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from rpc import table as wire_table
from rpc.table import ExclusiveFlags


class Field(Protocol):
    """An argument of a procedure."""

    @property
    def name(self) -> str:
        """The argument's name."""


class Procedure(Protocol):
    """What the dispatcher needs of a procedure (`rpc.table.Procedure`)."""

    @property
    def program(self) -> int:
        """The program's number."""

    @property
    def number(self) -> int:
        """The procedure's number within its program."""

    @property
    def name(self) -> str:
        """Its name, which is its method's, too."""

    @property
    def kind(self) -> str:
        """Either "call" or "event"."""

    @property
    def owner(self) -> str | None:
        """The service that answers it."""

    @property
    def args(self) -> Sequence[Field]:
        """Its arguments."""

    @property
    def exclusive(self) -> Sequence[ExclusiveFlags]:
        """Pairs of flags that exclude each other."""

    def decode_args(self, payload: bytes) -> tuple[Any, ...]:
        """Decode the arguments."""

    @property
    def encode_args(self) -> Callable[[tuple[Any, ...]], bytes]:
        """Return what encodes the arguments."""

    def encode_ret(self, value: Any) -> bytes:  # noqa: ANN401  (any result of any procedure)
        """Encode a method's result."""


class ProcedureTable(Protocol):
    """What the dispatcher needs of the protocol table (`rpc.table.ProtocolTable`)."""

    def procedures(self) -> Iterable[Procedure]:
        """List every procedure of every program."""


Procedures = Mapping[tuple[int, int], Procedure]  # by the numbers of program and procedure


def procedures_of(table: ProcedureTable, owner: str) -> Procedures:
    """Return the calls of an owner."""
    return {
        (procedure.program, procedure.number): procedure
        for procedure in table.procedures()
        if procedure.owner == owner and procedure.kind != "event"
    }


@cache
def loaded_procedures(owner: str, driver: str = "") -> Procedures:
    """Return the calls of an owner in the loaded table, of one driver or ("") of all.

    Cached, so that a zygote that calls it before a fork shares the result.
    """
    return {
        (call.program, call.number): call
        for call in wire_table.load().procedures()
        if call.owner == owner and call.kind != "event" and (not driver or call.serves(driver))
    }


@cache
def check_methods(owner: str, driver: str, classes: tuple[type, ...]) -> tuple[str, ...]:
    """Find the calls of an owner, and of one driver or ("") of all, without a fitting method.

    Cached: a zygote calls it before it forks the service, and the check touches every method.
    """
    return find_mismatches(loaded_procedures(owner, driver), classes)


def find_mismatches(procedures: Procedures, classes: Sequence[type]) -> tuple[str, ...]:
    """Describe each procedure that has no method, or one of other parameters."""
    mismatches = (find_mismatch(procedure, classes) for procedure in procedures.values())
    return tuple(mismatch for mismatch in mismatches if mismatch)


def find_mismatch(procedure: Procedure, classes: Iterable[type]) -> str:
    """Describe how a procedure's method differs from the table; "" if it does not."""
    for target in classes:
        method = getattr(target, procedure.name, None)
        if method is not None:
            actual = parameters(method)
            expected = [argument.name for argument in procedure.args]
            if actual == expected:
                return ""
            signature = f"{procedure.name}(call, {', '.join(actual)})"
            return f"{signature} should be (call, {', '.join(expected)})"
    return f"{procedure.name} has no method"


def parameters(method: Callable[..., object]) -> list[str]:
    """Return the names of a method's parameters after `self` and `call`."""
    code = getattr(method, "__code__", None)
    if code is None:
        return list(inspect.signature(method).parameters)[2:]
    return list(code.co_varnames[: code.co_argcount])[2:]  # as inspect.signature, but much faster
