"""A process that touches storage, from its fork to its end.

Owns: its link to stord. May touch: what its targets touch.
Every question blocks this process, and nothing else: that is what it is for.
"""

from __future__ import annotations

import asyncio
import gc
import socket

from ipc import Peer, StandaloneEndpoint
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.stord.pool_process.open_for_program import OpenForProgram
from supervisor.stord.pool_process.scan import VolumeScan
from supervisor.stord.pool_process.transfer import VolumeTransfer
from supervisor.stord.pool_process.volume_data import VolumeData
from supervisor.stord.pool_process.volume_files import VolumeFiles


def run(end: socket.socket) -> None:
    """Answer until stord closes its end."""
    gc.disable()  # what a question makes is freed with its answer
    with asyncio.Runner() as runner:
        runner.run(_run(end))


async def _run(end: socket.socket) -> None:
    home = StandaloneEndpoint(VirErrorCodec())
    for target in (VolumeFiles(), VolumeScan(), VolumeData(), OpenForProgram(), VolumeTransfer()):
        home.handlers.add(target)
    await Peer(end, "stord", home).wait_closed()
