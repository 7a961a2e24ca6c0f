"""Reply cache: a repeated query is answered without a hop until its owner invalidates it.

Owns: those replies, and the open /proc/PID/stat of those that tell a process's CPU time.
May not touch: the bus, sockets.

An owner marks a reply as cacheable, and publishes the change's event, or `InvalidateCache` where
it has none, before it acknowledges any change. Both come over one link in order, so a client that
has seen a change never sees an older reply. A reply requested before the last of them is not kept:
it may predate the change.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ipc import Descriptor
from rpc.table import Procedure
from supervisor.runtime.procfs import read_cpu_ns

MAX_REPLIES: Final = 4096
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_DESCRIPTORS: Final = 512
MAX_OF_HOST: Final = 64  # replies
MAX_OF_STATE: Final = 1024  # small ones
CPU_TIME: Final = struct.Struct(">Q")

Key = tuple[int, int, str, bytes]  # program, procedure, driver, encoded arguments


@dataclass(slots=True)
class TimedReply:
    """A reply whose last field is the CPU time of a process."""

    before: bytes  # that field
    stat: Descriptor  # /proc/PID/stat

    def payload(self) -> bytes | None:
        """Return the reply as it is now; None: the process has exited."""
        time = read_cpu_ns(self.stat.fileno())
        return None if time is None else self.before + CPU_TIME.pack(time)


class ReplyCache:
    """Encoded replies by call."""

    def __init__(self) -> None:
        self.generation = 0  # counts invalidations
        self._replies: dict[Key, bytes] = {}
        self._of_host: dict[Key, bytes] = {}  # that outlive a guest's changes
        self._of_state: dict[Key, bytes] = {}  # that outlive changes of settings
        self._timed: dict[Key, TimedReply] = {}
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """Look up a cached reply."""
        reply = self._replies.get(key)
        if reply is None and (timed := self._timed.get(key)) is not None:
            reply = timed.payload()
        if reply is None:
            reply = self._of_state.get(key)
        return reply if reply is not None else self._of_host.get(key)

    def put(
        self, key: Key, payload: bytes, generation: int, cpu_time_of: Descriptor | None = None
    ) -> None:
        """Keep a reply requested at `generation`, unless the cache was invalidated since.

        Args:
            key: of the call.
            payload: the reply.
            generation: of this cache when the call was forwarded.
            cpu_time_of: as in `ClientReply`; taken.
        """
        if generation != self.generation:
            return
        if cpu_time_of is not None:
            if len(self._timed) >= MAX_DESCRIPTORS:
                self._timed.clear()
            stat = Descriptor(cpu_time_of.take())
            self._timed[key] = TimedReply(payload[: -CPU_TIME.size], stat)
            return
        if len(self._replies) >= MAX_REPLIES or self._bytes + len(payload) > MAX_BYTES:
            self._replies.clear()
            self._bytes = 0
        self._replies[key] = payload
        self._bytes += len(payload) + len(key[3])

    def put_of_host(self, key: Key, payload: bytes, generation: int) -> None:
        """Keep a reply that is about the host alone; the arguments are `put`'s."""
        if generation == self.generation and len(self._of_host) < MAX_OF_HOST:
            self._of_host[key] = payload

    def put_of_state(self, key: Key, payload: bytes, generation: int) -> None:
        """Keep a reply that no change of settings outdates; the arguments are `put`'s."""
        if generation == self.generation:
            if len(self._of_state) >= MAX_OF_STATE:
                self._of_state.clear()
            self._of_state[key] = payload

    def clear(self, *, of_host: bool = True, settings: bool = False) -> None:
        """Drop every reply: something changed.

        Args:
            of_host: whether it may have been the host itself.
            settings: whether it was only a setting of an object.
        """
        self.generation += 1
        if of_host:
            self._of_host.clear()
        if not settings:
            self._of_state.clear()
        self._replies.clear()
        self._timed.clear()  # closes the descriptors
        self._bytes = 0


def cache_key(procedure: Procedure, payload: bytes, driver: str) -> Key:
    """Build a key that is equal for two calls that one reply answers."""
    return procedure.program, procedure.number, driver, payload
