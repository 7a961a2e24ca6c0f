"""What QEMU last said of its migration, by event MIGRATION, or of its dump, by DUMP_COMPLETED.

Owns: that word, and waking who waits for another one. May not touch: QEMU.
Source: QEMU 7.2, MigrationStatus, DumpStatus. It has one of them at a time.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from supervisor.workers.qemu.qmp.protocol import Message

COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"
#: A migration in one of these has ended, or has not begun.
ENDED: Final = frozenset({"", "none", COMPLETED, CANCELLED, FAILED})


class _Result(msgspec.Struct, frozen=True):
    status: str = ""


class _Data(msgspec.Struct, frozen=True):
    status: str = ""  # of MIGRATION
    result: _Result = _Result()  # of DUMP_COMPLETED
    error: str = ""  # of a failed dump


class MigrationWatch:
    """The state of one QEMU's migration, incoming or outgoing."""

    def __init__(self) -> None:
        self.status = ""  # "": none was begun by this worker
        self.error = ""  # why a dump has failed
        self._changed: asyncio.Event | None = None

    def on_message(self, message: Message) -> None:
        """Note an event of a migration or dump; others, and malformed ones, are ignored."""
        if message.event not in ("MIGRATION", "DUMP_COMPLETED"):
            return
        try:
            data = msgspec.json.decode(message.data or b"{}", type=_Data)
        except msgspec.MsgspecError:
            return
        self.error = data.error
        self.set(data.status or data.result.status)

    def set(self, status: str) -> None:
        """Note a state, also one that a query returned."""
        self.status = status
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait_ended(self) -> str:
        """Wait until the migration has ended; how."""
        while self.status not in (COMPLETED, CANCELLED, FAILED):
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
        return self.status
