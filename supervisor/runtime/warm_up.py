"""Warm-up: a child's first steps, run in the zygote before any child is forked.

Owns: an event loop, a link to a fake root, a `ChildConfig`, and their end.
May touch: nothing beyond this process. May not touch: the real root; roles.

Python writes to nearly everything that it uses for the first time: caches of methods and of types,
specialised byte code, decoders. Pages that the zygote has written its children share; pages that a
child writes are copied. It saves an idle worker 0.3 MiB (docs/decisions/zygote.md).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from conf.settings import DaemonConfig, QemuConfig
from ipc import Ack, Node, handles
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.messages.child import ChildConfig, GetConfig
from supervisor.messages.root import Ready
from supervisor.runtime.child import ChildProcess, fetch_config
from supervisor.runtime.event_loop import new_event_loop

ROUNDS: Final = 3  # CPython specialises byte code after a few runs


class FakeRoot:
    """The root's side of the control link."""

    @handles(GetConfig)
    def get_config(self, _: GetConfig) -> ChildConfig:
        """Answer with a worker's configuration."""
        return ChildConfig(
            root="/",
            session=False,
            config=DaemonConfig(),
            qemu_config=QemuConfig(),
            driver="qemu",
            domain="warm-up",
        )

    @handles(Ready)
    def ready(self, _: Ready) -> Ack:
        """Acknowledge that the process is ready."""
        return Ack()


async def _nothing(_: ChildProcess) -> None:
    """Do nothing."""


def warm_up(rehearse: Callable[[ChildProcess], Awaitable[None]] = _nothing) -> None:
    """Run a child's first steps; only caches are left of it. Call it without a running loop.

    Args:
        rehearse: runs the first steps of a role.
    """
    sigterm_handler = signal.getsignal(signal.SIGTERM)
    for _ in range(ROUNDS):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run_once(rehearse))
    signal.signal(signal.SIGTERM, sigterm_handler)


async def _run_once(rehearse: Callable[[ChildProcess], Awaitable[None]]) -> None:
    child_end, root_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    root = Node(root_end, "root")
    root.serve(FakeRoot())
    node = Node(child_end, "warm-up", VirErrorCodec())
    try:
        process = await fetch_config(node, "warm-up")
        process.stop_on_sigterm()
        node.serve(process)
        await process.ready()
        await rehearse(process)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    finally:
        node.close()
        root.close()
