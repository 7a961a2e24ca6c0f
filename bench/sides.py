"""Two daemons that take turns: wall and processor time of a call, ours beside stock's.

Owns: the connections that it opens.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.process_times import run_ms
from tests.clients.libvirt_binding import libvirt

#: Of the sample's number. A callable that it returns is called after it, and is not timed.
Action = Callable[[int], object]


@dataclass(frozen=True)
class Side:
    """A daemon under measurement."""

    name: str
    uri: str
    pids: Callable[[], list[int]]  # its processes, guests left out
    root: Path  # its root folder, as we see it
    images: Path  # a folder on disk, as we see it …
    seen_as: Path  # … and as the daemon does

    def connect(self) -> Any:
        """Open a connection."""
        return libvirt.open(self.uri)


@dataclass(frozen=True)
class Comparison:
    """A row: a call that is prepared on each side, then made in turns."""

    name: str
    target: str
    prepare: Callable[[Side], AbstractContextManager[Action]]
    samples: int = 200
    block: int = 20  # calls of a side in a row: its processor time is read around them


@dataclass
class Times:
    """What the samples of one side took."""

    wall_ms: list[float]
    cpu_ms: float = 0.0

    @property
    def median_ms(self) -> float:
        """The median wall time of a call."""
        return statistics.median(self.wall_ms)

    @property
    def mean_cpu_ms(self) -> float:
        """The daemon's mean processor time for a call."""
        return self.cpu_ms / len(self.wall_ms)


HEADER: Final = (
    f"{'what (ms; CPU: of the daemon)':44s} {'ours':>9s} {'stock':>9s} {'ratio':>6s}"
    f" {'CPU':>9s} {'stock':>9s} {'ratio':>6s}  target"
)


def compare(row: Comparison, sides: Sequence[Side]) -> list[Times]:
    """Make the calls, a block of each side in turn."""
    with ExitStack() as stack:
        actions = [stack.enter_context(row.prepare(side)) for side in sides]
        times = [Times([]) for _ in sides]
        for first in range(0, row.samples, row.block):
            for side, action, spent in zip(sides, actions, times, strict=True):
                before = run_ms(side.pids())
                for number in range(first, first + row.block):
                    began = time.perf_counter()
                    tidy = action(number)
                    spent.wall_ms.append((time.perf_counter() - began) * 1e3)
                    if callable(tidy):
                        tidy()
                spent.cpu_ms += run_ms(side.pids()) - before
        return times


def show(row: Comparison, times: Sequence[Times]) -> None:
    """Print a row."""
    walls = columns([each.median_ms for each in times])
    cpus = columns([each.mean_cpu_ms for each in times])
    sys.stdout.write(f"{row.name:44s} {walls} {cpus}  {row.target}\n")
    sys.stdout.flush()


def columns(values: Sequence[float]) -> str:
    """Format ours, stock and the ratio."""
    ours, stock = values[0], values[1] if len(values) > 1 else None
    beside = "-" if stock is None else f"{stock:.3f}"
    ratio = f"{ours / stock:.2f}" if stock else "-"
    return f"{ours:9.3f} {beside:>9s} {ratio:>6s}"
