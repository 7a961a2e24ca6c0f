"""No write since a checkpoint is missing, through snapshots, block jobs, deaths and power-offs.

It is counted by the checkpoint, and copied by an incremental backup.
"""

from __future__ import annotations

import pytest

from tests.clients.conftest import open_directory
from tests.clients.daemon import Daemon
from tests.clients.event_watch import EventLoop
from tests.clients.libvirt_binding import libvirt
from tests.clients.noted_machine import NotedMachine

STEPS = 10


@pytest.mark.parametrize("seed", [5])
def test_no_write_since_a_checkpoint_is_missing(seed: int) -> None:
    EventLoop.start()
    with open_directory() as folder, Daemon() as daemon:
        machine = NotedMachine(daemon, folder, seed)
        machine.start()
        try:
            for _ in range(STEPS):
                machine.step()
            machine.check()
        except libvirt.libvirtError as error:
            raise AssertionError((machine.log, str(error))) from error
        finally:
            machine.link.close()
