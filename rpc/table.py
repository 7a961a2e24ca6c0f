"""The protocol as data: every program and procedure, loaded from the tables beside this module.

Owns: finding a procedure by number or name, and its codecs, compiled at their first use.
May not touch: sockets, services.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final, NamedTuple

from rpc.codecs import Compiler, Decode, Encode
from rpc.table_syntax import ExclusiveFlags, Field, Line, Source, read
from rpc.xdr import DecodeError, EncodeError

__all__ = [
    "ANY_EVENT",
    "DecodeError",
    "EncodeError",
    "EventId",
    "ExclusiveFlags",
    "Field",
    "Procedure",
    "Program",
    "ProtocolTable",
    "load",
]

TABLES: Final = ("remote", "qemu", "lxc", "admin", "keepalive")
RO_DENIED: Final = "ro-denied-"
BEFORE_OPEN: Final = "before-open-"


class EventId(NamedTuple):
    """What a client registers for: virDomainEventID, virNetworkEventID and their like."""

    family: str  # "domain", "network", "storage_pool", "node_device", "secret", "qemu_monitor"
    number: int  # ANY_EVENT: the family has no numbers


#: The number of QEMU's monitor events, which have names instead.
ANY_EVENT: Final = -1


@dataclass(eq=False)
class Procedure:
    """One call or event."""

    program: int
    version: int
    line: Line
    compiler: Compiler = field(repr=False)

    def __post_init__(self) -> None:
        """Read the marks of the line."""
        line, marks = self.line, self.line.marks
        self.number: int = line.number
        self.name: str = line.name
        self.kind: str = line.kind  # "call" or "event"
        self.args: tuple[Field, ...] = line.args
        self.ret: tuple[Field, ...] = line.ret
        self.owner: str | None = marks.get("owner")
        self.exclusive: tuple[ExclusiveFlags, ...] = line.exclusive
        self.stream: str = marks.get("stream", "none")  # "read": daemon to client; "write"
        self.sparse_flag: int = int(marks.get("sparse-flag", "0"), 0)  # allows holes
        self.high_priority: bool = "high" in marks
        self.read_only: bool = "ro" in marks  # whether a read-only client may call it
        self.before_auth: bool = "before-auth" in marks
        #: Whether the call needs no CONNECT_OPEN, whatever its arguments are.
        self.before_open: bool = "before-open" in marks
        self.api: str = marks.get("api", "")  # the function a refusal names
        self.error_domain: int = int(marks.get("domain", "0"))
        self.drivers: frozenset[str] = frozenset(marks["for"].split(",") if "for" in marks else ())
        self.ro_denied_flags: int = int(marks.get("ro-denied-flags", "0"), 0)
        self.ro_denied_values: dict[str, tuple[int, ...]] = _argument_values(
            marks, RO_DENIED, but="ro-denied-flags"
        )

    # Rarely asked for: computed at each use, so that 470 procedures do not hold them.

    @property
    def long(self) -> bool:
        """Whether the call may copy or overwrite a whole volume: no fixed deadline suits it."""
        return "long" in self.line.marks

    @property
    def changes(self) -> bool:
        """Whether the call, a worker's, changes its domain: no other change runs beside it."""
        return "changes" in self.line.marks

    @property
    def before_open_values(self) -> dict[str, tuple[int, ...]]:
        """By argument: the values with which the call needs no CONNECT_OPEN."""
        return _argument_values(self.line.marks, BEFORE_OPEN)

    @property
    def event(self) -> EventId | None:
        """What an event message reports; None for calls and events that have no number."""
        mark = self.line.marks.get("event")
        if mark is None:
            return None
        family, _, number = mark.partition(":")
        return EventId(family, int(number) if number else ANY_EVENT)

    @property
    def has_callback_id(self) -> bool:
        """Whether an event's message begins with a callback number; the legacy ones do not."""
        return bool(self.args) and self.args[0].name == "callback_id"

    @cached_property
    def decode_args(self) -> Decode:
        """Decode the arguments, in order; raises DecodeError. Bytes left over are ignored."""
        return self.compiler.decoder(self.args)

    @cached_property
    def encode_args(self) -> Encode:
        """Encode the arguments, in order; raises EncodeError."""
        return self.compiler.encoder(self.args)

    def serves(self, driver: str) -> bool:
        """Return whether connections to a driver have the call; without `for=` all have it."""
        return not self.drivers or driver in self.drivers

    def encode_ret(self, value: Any) -> bytes:  # noqa: ANN401  (of the types in the table)
        """Encode a result: None, the bare value of one field, or a tuple of several.

        Raises:
            EncodeError: the value is not of the types in the table.
        """
        return self._encode_ret(unfold(self.ret, value))

    def decode_ret(self, data: bytes) -> Any:  # noqa: ANN401  (of the types in the table)
        """Decode a result: None, the bare value of one field, or a tuple of several.

        Raises:
            DecodeError: the bytes are not of the types in the table.
        """
        values = self._decode_ret(data)
        if not values:
            return None
        return values[0] if len(values) == 1 else values

    def compile(self) -> None:
        """Compile the codecs now: the zygote does it once for every process it forks."""
        _ = (self.decode_args, self._encode_ret)

    @cached_property
    def _encode_ret(self) -> Encode:
        return self.compiler.encoder(self.ret)

    @cached_property
    def _decode_ret(self) -> Decode:
        return self.compiler.decoder(self.ret)

    @cached_property
    def encode_event(self) -> Encode:
        """Encode what follows the callback number of an event; raises EncodeError."""
        return self.compiler.encoder(self.args[1:])


@dataclass
class Program:
    """One program of the protocol."""

    name: str
    number: int
    version: int
    procedures: dict[int, Procedure]

    def procedure(self, number: int) -> Procedure | None:
        """Look up a procedure or event by its number."""
        return self.procedures.get(number)


class ProtocolTable:
    """Every program."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Make the programs of the sources."""
        self.programs: dict[int, Program] = {}
        self._by_name: dict[str, Procedure] = {}
        for source in sources:
            compiler = Compiler(source)
            procedures = [
                Procedure(source.number, source.version, line, compiler) for line in source.lines
            ]
            by_number = {procedure.number: procedure for procedure in procedures}
            self.programs[source.number] = Program(
                source.name, source.number, source.version, by_number
            )
            self._by_name.update({procedure.name: procedure for procedure in procedures})

    def program(self, number: int) -> Program | None:
        """Look up a program by its number."""
        return self.programs.get(number)

    def named(self, name: str) -> Procedure:
        """Look up a procedure or event by its name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    def event(self, event: EventId, *, legacy: bool = False) -> Procedure | None:
        """Look up the message that reports an event.

        Args:
            event: what the client registered for.
            legacy: the form without a callback number, of which there is none after number 15.
        """
        return self._events.get((event, legacy))

    @cached_property
    def _events(self) -> dict[tuple[EventId, bool], Procedure]:
        return {
            (event, not procedure.has_callback_id): procedure
            for procedure in self.procedures()
            if (event := procedure.event) is not None
        }

    def procedures(self) -> Iterator[Procedure]:
        """List every procedure and event of every program."""
        for program in self.programs.values():
            yield from program.procedures.values()


def _argument_values(
    marks: dict[str, str], prefix: str, *, but: str = ""
) -> dict[str, tuple[int, ...]]:
    """Parse marks like `ro-denied-FIELD=1,2` into the values of each field."""
    return {
        mark.removeprefix(prefix): tuple(int(number) for number in value.split(","))
        for mark, value in marks.items()
        if mark.startswith(prefix) and mark != but
    }


def unfold(fields: tuple[Field, ...], value: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return the tuple of a result that is None, a bare value, or a tuple of several.

    Raises:
        EncodeError: the value has another number of fields.
    """
    if not fields:
        if value is not None:
            raise EncodeError(f"a result where the table has none: {value!r}")
        return ()
    if len(fields) == 1:
        return (value,)
    if not isinstance(value, tuple) or len(value) != len(fields):
        raise EncodeError(f"{value!r} is not a tuple of {len(fields)}")
    return value


@cache
def load() -> ProtocolTable:
    """Return the tables, read once in a process."""
    folder = resources.files("rpc")
    sources: list[Source] = []
    for name in TABLES:
        text = (folder / f"{name}.table").read_text(encoding="utf-8")
        sources.append(read(text, f"rpc/{name}.table", sources[0] if sources else None))
    return ProtocolTable(sources)
