"""Workers answer every procedure that the tables route to them (they check it only when called)."""

from __future__ import annotations

from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.main import call_targets


class NoGuest:
    """A worker that is never called."""

    def guest(self) -> Guest:
        raise AssertionError("not called")


def test_a_worker_has_a_method_for_each_of_its_procedures() -> None:
    Dispatcher("worker", *call_targets(NoGuest()), guard=None, driver="qemu")
