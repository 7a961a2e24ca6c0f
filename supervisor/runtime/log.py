"""One log for the whole tree: every process sends its records to the root, which alone writes.

Owns: the records' format, their transport from a child to the root, and the root's outputs.
May not touch: anything else of a process.

A child sends each record as one datagram and never waits: when the socket's buffer is full, the
record is dropped and counted, and the event loop goes on. In the root a thread of
`multiprocessing_logging` writes, so that a slow disk or terminal blocks nothing
(docs/decisions/log.md says why its own transport between processes is not used).
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from multiprocessing_logging import MultiProcessingHandler

from ipc import trace

FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(process_name)s %(trace)s%(message)s"
DATES: Final = "%Y-%m-%d %H:%M:%S"
MAX_RECORD: Final = 60_000  # bytes: one datagram
MAX_TEXT: Final = 14_000  # characters; of four bytes each they fit a record
MAX_TRACE: Final = 8_000  # characters of an exception's trace
BATCH: Final = 64  # records read in one turn of the loop
LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
SYSLOG: Final = "/dev/log"
#: Kinds of outputs, and how many fields follow them.
TARGETS: Final = {"stderr": 0, "journald": 0, "file": 1, "syslog": 1}


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A log record between processes."""

    created: float
    level: int
    logger: str
    process: str
    trace: str
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """A destination of records of a level and above."""

    level: int  # logging's
    kind: str  # "stderr", "file", "syslog"
    target: str = ""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """The level of a part of the log: of a process ("rpcd", "qemu:web") or of modules."""

    level: int  # logging's
    name: str  # of a process, or what the name of a logger contains

    def matches(self, process: str, logger: str) -> bool:
        """Return whether a record is of this part."""
        return process.partition(":")[0] == self.name or process == self.name or self.name in logger


class ContextFilter(logging.Filter):
    """Adds the process's name and the current trace to each record."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them, unless the record came from a child, which has added its own."""
        if not hasattr(record, "process_name"):
            record.process_name = self._process
            current = trace.get()
            record.trace = f"[{current}] " if current else ""
        return True


class RootHandler(logging.Handler):
    """A child's only handler: it sends records to the root."""

    def __init__(self, end: socket.socket, process: str) -> None:
        super().__init__()
        self.end = end
        self.process = process
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record, or count it as lost."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))[-MAX_TRACE:]
        if self._lost:
            text = f"({self._lost} records before this one were lost) {text}"
        packed = msgspec.msgpack.encode(
            Record(
                record.created,
                record.levelno,
                record.name,
                self.process,
                trace.get(),
                text[:MAX_TEXT],
            )
        )
        try:
            self.end.send(packed)
            self._lost = 0
        except OSError:
            self._lost += 1


class Collector:
    """The root's side: receives children's records and writes all."""

    def __init__(self, level: int) -> None:
        """Drop records below this of logging's levels, in every process."""
        self.level = level  # of what children send
        self._default_level = level
        self.filters = ""
        self.outputs = ""
        self._filters: list[LogFilter] = []
        self._root_end, self.child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self._root_end, self.child_end):
            end.settimeout(0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: list[logging.Handler] = []
        logging.getLogger().setLevel(level)

    def write_to(self, outputs: Sequence[Output]) -> None:
        """Write to these from now on. It starts threads: fork the zygote before."""
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self.outputs = " ".join(format_output(output) for output in outputs)
        self._handlers = [queue_handler(output) for output in outputs]
        for handler in self._handlers:
            root.addHandler(handler)

    def filter_by(self, text: str) -> None:
        """Set the levels of parts of the log; `level` is what children must send from now on.

        Raises:
            ValueError: an item is not LEVEL:NAME.
        """
        self._filters = parse_filters(text)
        self.filters = "".join(format_filter(each) for each in self._filters)
        self.level = min([self._default_level, *(each.level for each in self._filters)])
        # Children's records are not subject to this level: it is that of the root's own.
        logging.getLogger().setLevel(self._level_of("root", "supervisor.root"))

    def _level_of(self, process: str, logger: str) -> int:
        """Return the level of a part of the log; the last filter for it counts."""
        level = self._default_level
        for each in self._filters:
            if each.matches(process, logger):
                level = each.level
        return level

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to receive children's records."""
        self._loop = loop
        loop.add_reader(self._root_end.fileno(), self._readable)

    def close(self) -> None:
        """Write what is queued and stop; the loop that listened has stopped, or stops now."""
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self._handlers = []
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._root_end.fileno())
        self._root_end.close()
        self.child_end.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                data = self._root_end.recv(MAX_RECORD)
                record = msgspec.msgpack.decode(data, type=Record)
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if record.level >= self._level_of(record.process, record.logger):
                logging.getLogger(record.logger).handle(to_log_record(record))


def to_log_record(record: Record) -> logging.LogRecord:
    """Convert a child's record to logging's."""
    log_record = logging.LogRecord(record.logger, record.level, "", 0, record.text, (), None)
    log_record.created = record.created
    log_record.msecs = record.created % 1 * 1000
    log_record.process_name = record.process
    log_record.trace = f"[{record.trace}] " if record.trace else ""
    return log_record


def queue_handler(output: Output) -> logging.Handler:
    """Create a handler that writes in a thread of its own."""
    handler = MultiProcessingHandler(f"log-{output.kind}", output_handler(output))
    handler.setLevel(output.level)
    handler.addFilter(ContextFilter("root"))
    typed: logging.Handler = handler
    return typed


def output_handler(output: Output) -> logging.Handler:
    """Create a handler for an output; for standard error if it cannot be opened."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    try:
        if output.kind == "file":
            Path(output.target).parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(output.target, encoding="utf-8", errors="replace")
        elif output.kind == "syslog":
            handler = logging.handlers.SysLogHandler(SYSLOG)
            handler.ident = f"{output.target or 'libvirtd'}: "
    except OSError as error:
        sys.stderr.write(
            f"libvirtd: the log output {output.kind} {output.target} cannot be opened: {error}\n"
        )
    handler.setFormatter(logging.Formatter(FORMAT, DATES))
    return handler


def start_child_log(end: socket.socket, level: int, process: str) -> None:
    """Send this process's records to the root; a child of the zygote takes its handler over."""
    root = logging.getLogger()
    inherited = root.handlers[0] if len(root.handlers) == 1 else None
    if isinstance(inherited, RootHandler) and inherited.end is end:
        inherited.process = process
    else:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(RootHandler(end, process))
    if root.level != level:  # setLevel clears every logger's cache, which copies their pages
        root.setLevel(level)


def parse_outputs(text: str, default: Output) -> list[Output]:
    """Read libvirtd.conf's log_outputs: "LEVEL:stderr", "LEVEL:file:PATH", "LEVEL:syslog:NAME".

    Raises:
        ValueError: an item has another form; in libvirt's words.
    """
    return [parse_output(item) for item in text.split()] or [default]


def parse_output(item: str) -> Output:
    """Read one output.

    Raises:
        ValueError: it has another form.
    """
    level, *rest = item.split(":")
    if not rest:
        raise ValueError(f"Malformed format for output '{item}'")
    if not level.isdigit() or int(level) not in LEVELS:
        raise ValueError(f"Invalid log priority '{level}' for log output '{item}'")
    kind, *target = rest
    if kind not in TARGETS:
        raise ValueError(f"Invalid log destination '{kind}' for log output '{item}'")
    if len(target) != TARGETS[kind]:
        detail = f"does not meet the format requirements for destination type '{kind}'"
        raise ValueError(f"Log output '{item}' {detail}")
    kind = "syslog" if kind == "journald" else kind  # journald reads syslog's socket too
    return Output(LEVELS[int(level)], kind, "".join(target))


def format_output(output: Output) -> str:
    """Format an output as `parse_outputs` reads it."""
    number = number_of(output.level)
    target = f":{output.target}" if output.target and output.kind != "stderr" else ""
    return f"{number}:{output.kind}{target}"


def parse_filters(text: str) -> list[LogFilter]:
    """Read libvirtd.conf's log_filters: "LEVEL:NAME", separated by spaces.

    Raises:
        ValueError: an item has another form; in libvirt's words.
    """
    filters = []
    for item in text.split():
        level, colon, name = item.partition(":")  # a process's name may have a colon, too
        if not colon:
            raise ValueError(f"Malformed format for filter '{item}'")
        if not level.isdigit() or int(level) not in LEVELS:
            raise ValueError(f"Invalid priority '{level}' for filter '{item}'")
        if not name:
            raise ValueError("Invalid match string ''")
        filters.append(LogFilter(LEVELS[int(level)], name.strip("*")))  # as virt-admin shows it
    return filters


def format_filter(each: LogFilter) -> str:
    """Format a filter as libvirt does, which matches a part of a name as well."""
    return f"{number_of(each.level)}:*{each.name}* "


def number_of(level: int) -> int:
    """Return libvirtd.conf's number of a level of logging's."""
    return next((number for number, each in LEVELS.items() if each == level), 1)


def stderr_output() -> Output:
    """Return the default output of a daemon in the foreground."""
    return Output(logging.DEBUG, "stderr", str(os.getpid()))
