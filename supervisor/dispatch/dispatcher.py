"""Clients' calls at the service that owns them: arguments in, method, result out.

Owns: the check that each procedure has its method, and what becomes of an error.
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
    """An argument in the table."""

    @property
    def name(self) -> str:
        """The argument's name."""


class Procedure(Protocol):
    """What is needed of a procedure in the table (`rpc.table.Procedure`)."""

    @property
    def program(self) -> int:
        """The program's number."""

    @property
    def number(self) -> int:
        """The procedure's number within its program."""

    @property
    def name(self) -> str:
        """Its name, and its method's."""

    @property
    def kind(self) -> str:
        """A "call" or an "event"."""

    @property
    def owner(self) -> str | None:
        """Who answers it."""

    @property
    def args(self) -> Sequence[Field]:
        """Its arguments."""

    def decode_args(self, payload: bytes) -> tuple[Any, ...]:
        """XDR to arguments."""

    def encode_ret(self, value: Any) -> bytes:  # noqa: ANN401  (any result of any procedure)
        """A method's result to XDR."""


class Table(Protocol):
    """What is needed of the table (`rpc.table.Table`)."""

    def procedures(self) -> Iterable[Procedure]:
        """Every procedure of every program."""


@dataclass(slots=True)
class ClientCall:
    """A method's first argument: who calls, and what goes with the answer beside its result."""

    client: Client
    descriptors: list[Descriptor] = field(default_factory=list)
    answer_descriptors: list[Descriptor] = field(default_factory=list)
    stream: Stream | None = None
    cacheable: bool = False  # the answer holds until this service publishes `InvalidateCache`

    def set_stream(self, fd: int, token: str = "", *, sparse: bool = False) -> None:
        """Give the client a stream; rpcd pumps the descriptor, which is its own from now on.

        Args:
            fd: a socket, pipe, pty or file.
            token: non-empty when this service wants `StreamEnd`.
            sparse: it is a socket that carries records (`supervisor.messages.sparse_stream`).
        """
        self.stream = Stream(descriptor=Descriptor(fd), token=token, sparse=sparse)

    def discard(self) -> None:
        """Close all that nobody has taken: the call was refused."""
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
    """Every call that one owner answers."""

    def __init__(
        self,
        owner: str,
        *targets: object,
        table: Table | None = None,
        driver: str = "",
        fallback: Callable[[ClientRequest], Awaitable[ClientReply]] | None = None,
        voice: Callable[[VirError], VirError] | None = None,
    ) -> None:
        """Find the method of each procedure, among the targets by its name.

        Args:
            owner: as the table says it.
            targets: objects with a method a procedure.
            table: the protocol; the one that is loaded unless given.
            driver: the one that the owner serves; "": it serves all.
            fallback: what answers the calls of other owners (domd: hand them to the worker).
            voice: what becomes of refusals before they leave, where drivers share a method.

        Raises:
            SystemExit: methods are missing or differ from the table; all of them are named.
        """
        self._otherwise = fallback
        self._voice = voice or (lambda error: error)
        self._entries: dict[tuple[int, int], _Entry] = {}
        wrong: list[str] = []
        for procedure in (
            loaded_procedures(owner, driver) if table is None else procedures_of(table, owner)
        ):
            method, problem = find_method(procedure, targets)
            if problem:
                wrong.append(problem)
            else:
                entry = _Entry(procedure, method, inspect.iscoroutinefunction(method))
                self._entries[procedure.program, procedure.number] = entry
        if wrong:
            raise SystemExit(
                f"{owner} does not answer what the table says:\n  " + "\n  ".join(wrong)
            )

    @handles(ClientRequest)
    def on_request(self, invoke: ClientRequest) -> ClientReply | Coroutine[Any, Any, ClientReply]:
        """Answer a client's call; at once where its method is a plain one."""
        entry = self._entries.get((invoke.program, invoke.procedure))
        if entry is None:
            return self._of_others(invoke)
        call = ClientCall(invoke.client, invoke.descriptors)
        try:
            arguments = decode(entry.procedure, invoke.payload)
            if entry.is_async:
                return self._finish(entry, call, arguments)
            return _answer(entry.procedure, call, entry.method(call, *arguments))
        except Exception as error:
            call.discard()
            raise self._voice(to_vir_error(entry.procedure.name, error)) from error

    async def _finish(
        self, entry: _Entry, call: ClientCall, arguments: tuple[Any, ...]
    ) -> ClientReply:
        try:
            return _answer(entry.procedure, call, await entry.method(call, *arguments))
        except asyncio.CancelledError:
            call.discard()
            raise
        except Exception as error:
            call.discard()
            raise self._voice(to_vir_error(entry.procedure.name, error)) from error

    async def _of_others(self, invoke: ClientRequest) -> ClientReply:
        if self._otherwise is None:
            for descriptor in invoke.descriptors:
                descriptor.close()
            detail = f"procedure {invoke.procedure} of program {invoke.program:#x}"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.RPC)
        try:
            return await self._otherwise(invoke)
        except VirError as error:
            raise self._voice(error) from error.__cause__


class LazyDispatcher:
    """A surface that is made at the first call: a process that nobody asks stays small."""

    def __init__(self, make: Callable[[], Dispatcher]) -> None:
        """Have it made by this."""
        self._make = make
        self._surface: Dispatcher | None = None

    @handles(ClientRequest)
    def on_request(self, invoke: ClientRequest) -> ClientReply | Coroutine[Any, Any, ClientReply]:
        """Answer a client's call."""
        if self._surface is None:
            self._surface = self._make()
        return self._surface.on_request(invoke)


def _answer(procedure: Procedure, call: ClientCall, result: object) -> ClientReply:
    return ClientReply(
        payload=procedure.encode_ret(result),
        descriptors=call.answer_descriptors,
        stream=call.stream,
        cacheable=call.cacheable,
    )


def procedures_of(table: Table, owner: str) -> tuple[Procedure, ...]:
    """The calls that an owner answers."""
    return tuple(
        procedure
        for procedure in table.procedures()
        if procedure.owner == owner and procedure.kind != "event"
    )


@cache
def loaded_procedures(owner: str, driver: str = "") -> tuple[Procedure, ...]:
    """The calls of a driver that an owner answers, in the table that is loaded; "": of all drivers.

    They are looked for once, where possible before a fork.
    """
    every = wire_table.load().procedures()
    mine = (call for call in every if call.owner == owner and call.kind != "event")
    return tuple(call for call in mine if not driver or call.serves(driver))


def find_method(
    procedure: Procedure, targets: Iterable[object]
) -> tuple[Callable[..., object], str]:
    """Find what answers a procedure, or say what is wrong (the second is not empty then)."""
    for target in targets:
        method = getattr(target, procedure.name, None)
        if method is not None:
            has = parameters(method)
            wants = [argument.name for argument in procedure.args]
            if has == wants:
                return method, ""
            want, got = ", ".join(wants), ", ".join(has)
            return method, f"{procedure.name}(call, {got}) should be (call, {want})"
    return print, f"{procedure.name} has no method"


def parameters(method: Callable[..., object]) -> list[str]:
    """The names of a method's parameters after the call itself."""
    code = getattr(getattr(method, "__func__", None), "__code__", None)
    if code is None:
        return list(inspect.signature(method).parameters)[1:]
    return list(code.co_varnames[: code.co_argcount])[2:]  # what `signature` says, much quicker


def decode(procedure: Procedure, payload: bytes) -> tuple[Any, ...]:
    """Decode arguments that rpcd has checked already.

    Raises:
        VirError: RPC, should they still be wrong.
    """
    try:
        return procedure.decode_args(payload)
    except ValueError as error:
        detail = f"the arguments of {procedure.name} cannot be read: {error}"
        raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC) from error
