"""Support page: writes docs/support.md, every procedure and whether it works.

Owns: the page; `python -m rpc.support_page > docs/support.md` writes it.
May touch: standard output. What works is the table's `owner=`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from rpc import keepalive
from rpc.table import Procedure, Program, ProtocolTable, load

INTRODUCTION: Final = """\
# What works of libvirt's protocol

Made from `rpc/*.table` by `python -m rpc.support_page > docs/support.md`; a test compares it.
A procedure works when a service owns it; any other is answered with
VIR_ERR_NO_SUPPORT and its name.

- *answered by*: the process that owns the call; `worker` is the guest's own process. In
  brackets: the drivers that have the call, where not all do. For containers (`lxc:///`) `lxcd`
  answers what says `domd`.
- *read-only*: whether a client of `libvirt-sock-ro` may call it, and what is refused it even then.
- *stream*: `read` goes to the client, `write` comes from it.
"""


def page(table: ProtocolTable) -> str:
    """Return the page."""
    parts = [INTRODUCTION, "\n".join(_summary(table)) + "\n"]
    parts += ["\n".join(_program(program)) + "\n" for program in table.programs.values()]
    return "\n".join(parts)


def _calls(program: Program) -> list[Procedure]:
    return [call for call in program.procedures.values() if call.kind == "call"]


def _events(program: Program) -> list[Procedure]:
    return [event for event in program.procedures.values() if event.kind == "event"]


def _summary(table: ProtocolTable) -> Iterator[str]:
    yield "| program | number | calls | of them work | events |"
    yield "| --- | --- | --: | --: | --: |"
    for program in table.programs.values():
        calls = _calls(program)
        works = sum(_answered_by(call) != "" for call in calls)
        number = f"`{program.number:#010x}`"
        yield (f"| {program.name} | {number} | {len(calls)} | {works} | {len(_events(program))} |")


def _program(program: Program) -> Iterator[str]:
    yield f"## {program.name}"
    yield ""
    yield "| no. | call | answered by | read-only | stream |"
    yield "| --: | --- | --- | --- | --- |"
    for call in _calls(program):
        stream = "" if call.stream == "none" else call.stream
        answered = _answered_by(call) or "**no**"
        yield f"| {call.number} | `{call.name}` | {answered} | {_read_only(call)} | {stream} |"
    events = _events(program)
    if events:
        yield ""
        yield "Events: " + ", ".join(f"{event.number} `{event.name}`" for event in events) + "."


def _answered_by(call: Procedure) -> str:
    """Name the process that answers a call and its drivers; rpcd answers keepalive messages."""
    if call.program == keepalive.PROGRAM:
        return "rpcd"
    of_some = f" ({', '.join(sorted(call.drivers))})" if call.drivers else ""
    return f"{call.owner}{of_some}" if call.owner else ""


def _read_only(call: Procedure) -> str:
    if not call.read_only:
        return "yes" if call.program == keepalive.PROGRAM else "no"
    refused = [f"{name} {_numbers(values)}" for name, values in call.ro_denied_values.items()]
    if call.ro_denied_flags:
        refused.append(f"flags {call.ro_denied_flags:#x}")
    return f"yes, but not {', '.join(refused)}" if refused else "yes"


def _numbers(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values)


if __name__ == "__main__":
    sys.stdout.write(page(load()))
