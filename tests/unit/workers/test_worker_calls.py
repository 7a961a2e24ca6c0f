"""What workers answer of the protocol, checked here: they make their surface at the first call."""

from __future__ import annotations

from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.main import call_targets


class NoGuest:
    """A worker whose guest is never asked for."""

    def guest(self) -> Guest:
        raise AssertionError("nobody calls")


def test_a_worker_has_a_method_for_each_of_its_procedures() -> None:
    Dispatcher("worker", *call_targets(NoGuest()), driver="qemu")
