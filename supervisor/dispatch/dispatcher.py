"""Dispatcher: a service's side of clients' calls, from decoded arguments to the encoded result.

Owns: the check that each procedure has its method; the conversion of exceptions to VirErrors.
May touch: nothing; the methods do the work. May not touch: client sockets.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from ipc import Descriptor, handles
from rpc import table as wire_table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import to_vir_error
from supervisor.messages.calls import Client, ClientReply, ClientRequest, Stream


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

    def decode_args(self, payload: bytes) -> tuple[Any, ...]:
        """Decode the arguments."""

    def encode_ret(self, value: Any) -> bytes:  # noqa: ANN401  (any result of any procedure)
        """Encode a method's result."""


class ProcedureTable(Protocol):
    """What the dispatcher needs of the protocol table (`rpc.table.ProtocolTable`)."""

    def procedures(self) -> Iterable[Procedure]:
        """List every procedure of every program."""


@dataclass(slots=True)
class ClientCall:
    """A method's first argument: the client, and what goes with the reply beside its result."""

    client: Client
    descriptors: list[Descriptor] = field(default_factory=list)  # of the request
    answer_descriptors: list[Descriptor] = field(default_factory=list)  # of the reply
    stream: Stream | None = None
    cacheable: bool = False  # the reply holds until this service publishes `InvalidateCache`

    def set_stream(self, fd: int, token: str = "", *, sparse: bool = False) -> None:
        """Open a stream to the client; rpcd pumps the descriptor and owns it from now on.

        Args:
            fd: a socket, pipe, pty or file.
            token: non-empty when this service wants `StreamEnd`.
            sparse: it is a socket that carries records (`supervisor.messages.sparse_stream`).
        """
        self.stream = Stream(descriptor=Descriptor(fd), token=token, sparse=sparse)

    def discard(self) -> None:
        """Close the descriptors that the failed call leaves."""
        for descriptor in (*self.descriptors, *self.answer_descriptors):
            descriptor.close()
        if self.stream is not None:
            self.stream.descriptor.close()


@dataclass(frozen=True, slots=True)
class _Entry:
    procedure: Procedure
    method: Callable[..., Any]
    is_async: bool


class Dispatcher:
    """Answers the calls of one owner of the protocol table."""

    def __init__(
        self,
        owner: str,
        *targets: object,
        table: ProcedureTable | None = None,
        driver: str = "",
        fallback: Callable[[ClientRequest], Awaitable[ClientReply]] | None = None,
    ) -> None:
        """Find the method of each procedure by its name.

        Args:
            owner: in the table.
            targets: objects whose methods answer; the first that has a procedure's method does.
            table: the protocol; the loaded one unless given.
            driver: `Driver.name` of the only driver that the service answers for; "": every driver.
            fallback: answers the calls of other owners (domd forwards them to the worker).

        Raises:
            SystemExit: methods are missing or differ from the table; the message names them all.
        """
        self._fallback = fallback
        self._entries: dict[tuple[int, int], _Entry] = {}
        mismatches: list[str] = []
        for procedure in (
            loaded_procedures(owner, driver) if table is None else procedures_of(table, owner)
        ):
            method, mismatch = find_method(procedure, targets)
            if mismatch:
                mismatches.append(mismatch)
            else:
                entry = _Entry(procedure, method, inspect.iscoroutinefunction(method))
                self._entries[procedure.program, procedure.number] = entry
        if mismatches:
            raise SystemExit(
                f"{owner} does not implement the protocol table:\n  " + "\n  ".join(mismatches)
            )

    @handles(ClientRequest)
    def on_request(self, request: ClientRequest) -> ClientReply | Coroutine[Any, Any, ClientReply]:
        """Answer a client's call; without a task of its own where its method is not async."""
        entry = self._entries.get((request.program, request.procedure))
        if entry is None:
            return self._call_fallback(request)
        call = ClientCall(request.client, request.descriptors)
        try:
            arguments = decode(entry.procedure, request.payload)
            if entry.is_async:
                return self._await_method(entry, call, arguments)
            return _reply(entry.procedure, call, entry.method(call, *arguments))
        except Exception as error:
            call.discard()
            raise to_vir_error(entry.procedure.name, error) from error

    async def _await_method(
        self, entry: _Entry, call: ClientCall, arguments: tuple[Any, ...]
    ) -> ClientReply:
        try:
            return _reply(entry.procedure, call, await entry.method(call, *arguments))
        except asyncio.CancelledError:
            call.discard()
            raise
        except Exception as error:
            call.discard()
            raise to_vir_error(entry.procedure.name, error) from error

    async def _call_fallback(self, request: ClientRequest) -> ClientReply:
        if self._fallback is not None:
            return await self._fallback(request)
        for descriptor in request.descriptors:
            descriptor.close()
        detail = f"procedure {request.procedure} of program {request.program:#x}"
        raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.RPC)


class LazyDispatcher:
    """A dispatcher that is made at the first call: most workers never get one, and stay small."""

    def __init__(self, make: Callable[[], Dispatcher]) -> None:
        self._make = make
        self._dispatcher: Dispatcher | None = None

    @handles(ClientRequest)
    def on_request(self, request: ClientRequest) -> ClientReply | Coroutine[Any, Any, ClientReply]:
        """Answer a client's call."""
        if self._dispatcher is None:
            self._dispatcher = self._make()
        return self._dispatcher.on_request(request)


def _reply(procedure: Procedure, call: ClientCall, result: object) -> ClientReply:
    return ClientReply(
        payload=procedure.encode_ret(result),
        descriptors=call.answer_descriptors,
        stream=call.stream,
        cacheable=call.cacheable,
    )


def procedures_of(table: ProcedureTable, owner: str) -> tuple[Procedure, ...]:
    """Return the calls of an owner."""
    return tuple(
        procedure
        for procedure in table.procedures()
        if procedure.owner == owner and procedure.kind != "event"
    )


@cache
def loaded_procedures(owner: str, driver: str = "") -> tuple[Procedure, ...]:
    """Return the calls of an owner in the loaded table, of one driver or ("") of all.

    Cached, so that a zygote that calls it before a fork shares the result.
    """
    procedures = wire_table.load().procedures()
    calls = (call for call in procedures if call.owner == owner and call.kind != "event")
    return tuple(call for call in calls if not driver or call.serves(driver))


def find_method(
    procedure: Procedure, targets: Iterable[object]
) -> tuple[Callable[..., object], str]:
    """Find the method of a procedure; the second value describes a mismatch, or is empty."""
    for target in targets:
        method = getattr(target, procedure.name, None)
        if method is not None:
            actual = parameters(method)
            expected = [argument.name for argument in procedure.args]
            if actual == expected:
                return method, ""
            signature = f"{procedure.name}(call, {', '.join(actual)})"
            return method, f"{signature} should be (call, {', '.join(expected)})"
    return print, f"{procedure.name} has no method"


def parameters(method: Callable[..., object]) -> list[str]:
    """Return the names of a method's parameters after `call`."""
    code = getattr(getattr(method, "__func__", None), "__code__", None)
    if code is None:
        return list(inspect.signature(method).parameters)[1:]
    return list(code.co_varnames[: code.co_argcount])[2:]  # as inspect.signature, but much faster


def decode(procedure: Procedure, payload: bytes) -> tuple[Any, ...]:
    """Decode arguments, which rpcd has checked already.

    Raises:
        VirError: RPC: they are invalid all the same.
    """
    try:
        return procedure.decode_args(payload)
    except ValueError as error:
        detail = f"the arguments of {procedure.name} cannot be read: {error}"
        raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC) from error
