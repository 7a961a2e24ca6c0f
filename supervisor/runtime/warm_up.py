"""A process's first steps, gone through once in the zygote before any child is forked.

Owns: the rehearsal: a loop, a link to a root that is played here, an assignment, and the end.
May touch: nothing beyond this process. May not touch: the real root; roles.

Python writes to nearly everything that it uses for the first time: caches of methods and of types,
specialised byte code, decoders. What the zygote has written its children share; what each writes is
its own. It saves an idle worker 0.3 MiB (docs/decisions/zygote.md).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Final

import uvloop

from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Node, handles
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.child import ChildConfig, GetConfig
from supervisor.messages.root import Ready
from supervisor.runtime.child import fetch_config

TIMES: Final = 3  # byte code is specialised for what it has met before


class FakeRoot:
    """The root's part in it."""

    @handles(GetConfig)
    def begin(self, _: GetConfig) -> ChildConfig:
        """Give a worker's task."""
        return ChildConfig(
            root="/",
            session=False,
            config=DaemonConfig(),
            qemu_config=QemuConfig(),
            driver="lxc",
            domain="rehearsal",
        )

    @handles(Ready)
    def ready(self, _: Ready) -> Ack:
        """Hear that it is up."""
        return Ack()


def warm_up() -> None:
    """Go through it; nothing of it is left but what is shared. Call it without a running loop."""
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(TIMES):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_once())
    signal.signal(signal.SIGTERM, before)


async def _once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    root = Node(theirs, "root")
    root.serve(FakeRoot())
    node = Node(ours, "rehearsal", VirErrorCodec())
    try:
        process = await fetch_config(node, "rehearsal")
        process.end_by_signal()
        node.serve(process)
        await process.ready()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    finally:
        node.close()
        root.close()
