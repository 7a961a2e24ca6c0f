"""Dispatcher: a service's side of clients' calls, from decoded arguments to the encoded result.

Owns: which method answers a call; the conversion of exceptions to VirErrors.
May touch: nothing; the methods do the work. May not touch: client sockets.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, Final, Protocol

import msgspec

from ipc import Descriptor, handles
from rpc import table as wire_table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import to_vir_error
from supervisor.dispatch.procedure_methods import (
    Procedure,
    ProcedureTable,
    check_methods,
    find_mismatches,
    loaded_procedures,
    procedures_of,
)
from supervisor.messages.calls import Client, ClientReply, ClientRequest, Stream

LONG_LIST: Final = 1000  # of values: encoding more takes over a millisecond


class CallGuard(Protocol):
    """Access control (`supervisor.access.guard`): decides which calls reach their methods."""

    def attach(self, invoke: Callable[..., Awaitable[Any]]) -> None:
        """Take what calls the service's own methods: `invoke(name, client, *arguments)`."""

    async def admit(
        self, procedure: wire_table.Procedure, call: ClientCall, arguments: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Return the arguments to call the method with; raises VirError: ACCESS_DENIED."""

    async def release(
        self,
        procedure: wire_table.Procedure,
        call: ClientCall,
        arguments: tuple[Any, ...],
        result: Any,  # noqa: ANN401  (any result of any procedure)
    ) -> Any:  # noqa: ANN401
        """Return what the client may see of a result; raises VirError: ACCESS_DENIED."""


@dataclass(slots=True)
class ClientCall:
    """A method's first argument: the client, and what goes with the reply beside its result."""

    client: Client
    descriptors: list[Descriptor] = field(default_factory=list)  # of the request
    answer_descriptors: list[Descriptor] = field(default_factory=list)  # of the reply
    stream: Stream | None = None
    cacheable: bool = False  # the reply holds until this service publishes a change
    of_host: bool = False  # … of the host itself, as in `ClientReply`
    of_state: bool = False  # … whatever the settings, as in `ClientReply`
    cpu_time_of: Descriptor | None = None  # … but for its last field: as in `ClientReply`
    #: Arguments and results of the same procedure, as cacheable, that may be asked for next.
    readahead: list[tuple[tuple[Any, ...], Any]] = field(default_factory=list)
    #: With access control, of a call whose object the method alone finds: checks the permission.
    permit: Callable[[str], Awaitable[None]] | None = None

    async def check_access(self, xml: str) -> None:
        """Check that the client may do the call to the domain of this document.

        For methods that read it from a file (`supervisor.access.subjects.CHECKS_ITSELF`); all
        other calls are checked before their method.

        Raises:
            VirError: ACCESS_DENIED.
        """
        if self.permit is not None:
            await self.permit(xml)

    def forbid_cache(self) -> None:
        """Have rpcd ask again for each client: the reply depends on who asks."""
        self.cacheable = False
        self.readahead.clear()
        if self.cpu_time_of is not None:
            self.cpu_time_of.close()
            self.cpu_time_of = None

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
        for descriptor in (*self.descriptors, *self.answer_descriptors, self.cpu_time_of):
            if descriptor is not None:
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
        guard: CallGuard | None,
        table: ProcedureTable | None = None,
        driver: str = "",
        fallback: Callable[[ClientRequest], Awaitable[ClientReply]] | None = None,
    ) -> None:
        """Find the method of each procedure by its name.

        Args:
            owner: in the table.
            targets: objects whose methods answer; the first that has a procedure's method does.
            guard: access control; None: every client may call everything.
            table: the protocol; the loaded one unless given.
            driver: `Driver.name` of the only driver that the service answers for; "": every driver.
            fallback: answers the calls of other owners (domd forwards them to the worker).

        Raises:
            SystemExit: methods are missing or differ from the table; the message names them all.
        """
        self._fallback = fallback
        self._guard = guard
        self._targets = targets
        self._entries: dict[tuple[int, int], _Entry] = {}  # of the procedures called so far
        classes = tuple(type(target) for target in targets)
        if table is None:
            self._procedures = loaded_procedures(owner, driver)
            mismatches = check_methods(owner, driver, classes)
        else:
            self._procedures = procedures_of(table, owner)
            mismatches = find_mismatches(self._procedures, classes)
        if mismatches:
            raise SystemExit(
                f"{owner} does not implement the protocol table:\n  " + "\n  ".join(mismatches)
            )
        if guard is not None:
            guard.attach(self._invoke)

    @handles(ClientRequest)
    def on_request(self, request: ClientRequest) -> ClientReply | Coroutine[Any, Any, ClientReply]:
        """Answer a client's call; without a task of its own where its method is not async."""
        if self._guard is not None:
            return self._guarded(self._guard, request)
        entry = self._entry((request.program, request.procedure))
        if entry is None:
            return self._call_fallback(request)
        call = ClientCall(request.client, request.descriptors)
        try:
            arguments = decode(entry.procedure, request.payload)
            refuse_exclusive(entry.procedure, arguments)
            if entry.is_async:
                return self._await_method(entry, call, arguments)
            result = entry.method(call, *arguments)
            if is_long(result) or isinstance(result, CoroutineType):
                return self._await_method(entry, call, arguments, result)
            return _reply(entry.procedure, call, entry.procedure.encode_ret(result))
        except Exception as error:
            call.discard()
            raise to_vir_error(entry.procedure.name, error) from error

    def _entry(self, number: tuple[int, int]) -> _Entry | None:
        """Return a procedure and its method; None: another owner's."""
        entry = self._entries.get(number)
        if entry is None:
            procedure = self._procedures.get(number)
            if procedure is None:
                return None
            # Not before the first call: looking at a method writes to its reference count, and so
            # copies a page that is shared with the zygote.
            entry = self._entries[number] = make_entry(procedure, self._targets)
        return entry

    async def _guarded(self, guard: CallGuard, request: ClientRequest) -> ClientReply:
        """Answer a client's call if its client may make it."""
        program = wire_table.load().program(request.program)
        procedure = program.procedure(request.procedure) if program is not None else None
        if procedure is None:
            return await self._call_fallback(request)
        call = ClientCall(request.client, request.descriptors)
        entry = self._entry((request.program, request.procedure))
        try:
            given = decode(procedure, request.payload)
            refuse_exclusive(procedure, given)
            arguments = await guard.admit(procedure, call, given)
            if entry is not None:
                result = entry.method(call, *arguments)
                if entry.is_async or isinstance(result, CoroutineType):
                    result = await result
                result = await guard.release(procedure, call, given, result)
                encode = procedure.encode_ret
                long = is_long(result)
                payload = await asyncio.to_thread(encode, result) if long else encode(result)
                return _reply(procedure, call, payload)
        except asyncio.CancelledError:
            call.discard()
            raise
        except Exception as error:
            call.discard()
            raise to_vir_error(procedure.name, error) from error
        reply = await self._call_fallback(request)
        return msgspec.structs.replace(reply, cacheable=False, readahead=[])

    async def _invoke(self, name: str, client: Client, *arguments: object) -> object:
        """Call a method of the service itself for a client, as access control does."""
        procedure = wire_table.load().named(name)
        entry = self._entry((procedure.program, procedure.number))
        assert entry is not None, f"{name} is not of this service"
        result = entry.method(ClientCall(client), *arguments)
        return await result if isinstance(result, CoroutineType) else result

    async def _await_method(
        self, entry: _Entry, call: ClientCall, arguments: tuple[Any, ...], result: object = None
    ) -> ClientReply:
        """Answer by an async method, or with a long result, whose encoding holds up no other call.

        Args:
            entry: the procedure and its method.
            call: of the client.
            arguments: of the method.
            result: of a method that is not async; a coroutine of one that is at times.
        """
        try:
            if entry.is_async:
                result = await entry.method(call, *arguments)
            elif isinstance(result, CoroutineType):
                result = await result
            encode = entry.procedure.encode_ret
            payload = await asyncio.to_thread(encode, result) if is_long(result) else encode(result)
            return _reply(entry.procedure, call, payload)
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


def is_long(result: object) -> bool:
    """Return whether a method's result is a list of thousands."""
    return isinstance(result, tuple) and any(
        isinstance(value, list) and len(value) >= LONG_LIST for value in result
    )


def _reply(procedure: Procedure, call: ClientCall, payload: bytes) -> ClientReply:
    return ClientReply(
        payload=payload,
        descriptors=call.answer_descriptors,
        stream=call.stream,
        cacheable=call.cacheable,
        of_host=call.of_host,
        of_state=call.of_state,
        cpu_time_of=call.cpu_time_of,
        readahead=[
            (procedure.encode_args(arguments), procedure.encode_ret(result))
            for arguments, result in call.readahead
        ],
    )


def make_entry(procedure: Procedure, targets: Iterable[object]) -> _Entry:
    """Find the method of a procedure, which the check has found."""
    method = next(
        method
        for target in targets
        if (method := getattr(target, procedure.name, None)) is not None
    )
    return _Entry(procedure, method, inspect.iscoroutinefunction(method))


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


def refuse_exclusive(procedure: Procedure, arguments: Sequence[object]) -> None:
    """Refuse two flags of which the call may have one; flags are its last argument.

    Raises:
        VirError: INVALID_ARG.
    """
    for pair in procedure.exclusive:
        flags = arguments[-1]
        if isinstance(flags, int) and flags & pair.mask == pair.mask:
            first, second = pair.names
            detail = f"Flags '{first}' and '{second}' are mutually exclusive"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.DOMAIN)
