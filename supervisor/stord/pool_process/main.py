"""Entry point of a pool's helper process.

Owns: its socket to stord. May touch: what its handlers touch.
Each request blocks this process, so that stord itself never blocks on storage; it needs no loop.
"""

from __future__ import annotations

import gc
import socket

from ipc import BlockingServer, StandaloneEndpoint
from supervisor.dispatch.errors import VirErrorCodec
from supervisor.stord.pool_process.open_for_program import OpenForProgram
from supervisor.stord.pool_process.scan import VolumeScan
from supervisor.stord.pool_process.transfer import VolumeTransfer
from supervisor.stord.pool_process.volume_data import VolumeData
from supervisor.stord.pool_process.volume_files import VolumeFiles


def run(connection: socket.socket) -> None:
    """Handle requests until stord closes its end of the socket."""
    run_endpoint(connection, StandaloneEndpoint(VirErrorCodec()))


def run_endpoint(connection: socket.socket, endpoint: StandaloneEndpoint) -> None:
    """Register every handler and handle requests until the socket closes."""
    gc.disable()  # reference counting frees a request's objects; a GC run would unshare fork pages
    for target in (VolumeFiles(), VolumeScan(), VolumeData(), OpenForProgram(), VolumeTransfer()):
        endpoint.handlers.add(target)
    BlockingServer(connection, "stord", endpoint).run()
