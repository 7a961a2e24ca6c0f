"""One log for the whole tree: every process's records reach the root, which alone writes.

Owns: the records' form, their way from a child to the root, and where the root puts them.
May not touch: anything else of a process.

A child sends each record as one datagram and never waits: a full socket costs the record, not the
loop. In the root a thread of `multiprocessing_logging` writes, so that a slow disk or terminal
holds nothing up (docs/decisions/log.md says why its own way between processes is not used).
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
    """Where records go, from a level on."""

    level: int  # logging's
    kind: str  # "stderr", "file", "syslog"
    target: str = ""


class ContextFilter(logging.Filter):
    """Puts the process's name and the current trace into each record."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp; a record that came from a child is stamped already."""
        if not hasattr(record, "process_name"):
            record.process_name = self._process
            current = trace.get()
            record.trace = f"[{current}] " if current else ""
        return True


class RootHandler(logging.Handler):
    """A child's only handler."""

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
    """The root's side: takes children's records in and writes everything."""

    def __init__(self, level: int) -> None:
        """Drop records below this one of logging's levels in every process."""
        self.level = level
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self._ours, self.theirs):
            end.settimeout(0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: list[logging.Handler] = []
        logging.getLogger().setLevel(level)

    def write_to(self, outputs: Sequence[Output]) -> None:
        """Write to these from now on; that takes threads, so fork the zygote before."""
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self._handlers = [queue_handler(output) for output in outputs]
        for handler in self._handlers:
            root.addHandler(handler)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take children's records in."""
        self._loop = loop
        loop.add_reader(self._ours.fileno(), self._readable)

    def close(self) -> None:
        """Write what is queued and stop; the loop that listened has ended, or ends now."""
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self._handlers = []
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self.theirs.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                data = self._ours.recv(MAX_RECORD)
                record = msgspec.msgpack.decode(data, type=Record)
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                continue
            logging.getLogger(record.logger).handle(to_log_record(record))


def to_log_record(record: Record) -> logging.LogRecord:
    """Make logging's record of a child's."""
    made = logging.LogRecord(record.logger, record.level, "", 0, record.text, (), None)
    made.created = record.created
    made.msecs = record.created % 1 * 1000
    made.process_name = record.process
    made.trace = f"[{record.trace}] " if record.trace else ""
    return made


def queue_handler(output: Output) -> logging.Handler:
    """A handler that writes in a thread of its own."""
    handler = MultiProcessingHandler(f"log-{output.kind}", output_handler(output))
    handler.setLevel(output.level)
    handler.addFilter(ContextFilter("root"))
    typed: logging.Handler = handler
    return typed


def output_handler(output: Output) -> logging.Handler:
    """A handler that writes to an output; to stderr when the output cannot be had."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    try:
        if output.kind == "file":
            Path(output.target).parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(output.target, encoding="utf-8", errors="replace")
        elif output.kind == "syslog":
            handler = logging.handlers.SysLogHandler(SYSLOG)
            handler.ident = f"{output.target or 'libvirtd'}: "
    except OSError as error:
        sys.stderr.write(f"libvirtd: no log in {output.kind} {output.target}: {error}\n")
    handler.setFormatter(logging.Formatter(FORMAT, DATES))
    return handler


def begin_child(end: socket.socket, level: int, process: str) -> None:
    """Send this process's records to the root from now on; the zygote's child goes its way."""
    root = logging.getLogger()
    inherited = root.handlers[0] if len(root.handlers) == 1 else None
    if isinstance(inherited, RootHandler) and inherited.end is end:
        inherited.process = process
    else:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(RootHandler(end, process))
    if root.level != level:  # the zygote's is ours mostly; a change touches every logger there is
        root.setLevel(level)


def parse_outputs(text: str, otherwise: Output) -> list[Output]:
    """Read libvirtd.conf's log_outputs: "LEVEL:stderr", "LEVEL:file:PATH", "LEVEL:syslog:NAME".

    Raises:
        ValueError: a word says something else.
    """
    outputs = []
    for word in text.split():
        level, _, rest = word.partition(":")
        kind, _, target = rest.partition(":")
        kind = "syslog" if kind == "journald" else kind  # journald reads syslog's socket too
        if (
            not level.isdigit()
            or int(level) not in LEVELS
            or kind not in ("stderr", "file", "syslog")
        ):
            raise ValueError(f"log_outputs: '{word}' is not LEVEL:stderr, file:PATH or syslog:NAME")
        outputs.append(Output(LEVELS[int(level)], kind, target))
    return outputs or [otherwise]


def stderr_output() -> Output:
    """Where records go while a terminal or a service manager holds us."""
    return Output(logging.DEBUG, "stderr", str(os.getpid()))
