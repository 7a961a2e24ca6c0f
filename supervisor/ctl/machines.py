"""Guests as systemd-machined knows them, for `virtvisorctl takeover --check`.

Owns: the questions to machined. May touch: the system's D-Bus. Changes nothing.
Source: libvirt 9.0 and 11.3, virCgroupNewDetectMachine: with cgroup version 2 alone libvirt's
daemon ends a guest at its start if there is a machined, and it does not know the guest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from jeepney import Message, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.low_level import HeaderFields

from supervisor.runtime.system_bus import BOOTED, MACHINED

UNIFIED: Final = Path("/sys/fs/cgroup/cgroup.controllers")  # where version 2 is alone
NONE: Final = "org.freedesktop.DBus.Error.ServiceUnknown"  # no machined is installed
ASK_S: Final = 5.0


def unknown_guests(pids: Iterable[int]) -> frozenset[int]:
    """Return those of the guests' processes that libvirt's daemon would end for machined's sake.

    Without a bus it asks nobody: there it ends none.
    """
    if not (BOOTED.is_dir() and UNIFIED.exists()):
        return frozenset()
    try:
        return frozenset(_unknown(pids))
    except (OSError, KeyError, EOFError, ValueError):
        return frozenset()


def _unknown(pids: Iterable[int]) -> Iterator[int]:
    with open_dbus_connection(bus="SYSTEM") as bus:
        for pid in pids:
            question = new_method_call(MACHINED, "GetMachineByPID", "u", (pid,))
            if _refusal(bus.send_and_get_reply(question, timeout=ASK_S)) not in ("", NONE):
                yield pid


def _refusal(reply: Message) -> str:
    """Return the name of the error that a reply is; "": it is none."""
    if reply.header.message_type is not MessageType.error:
        return ""
    return str(reply.header.fields.get(HeaderFields.error_name))
