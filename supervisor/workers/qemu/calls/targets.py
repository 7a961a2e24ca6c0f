"""What answers clients' calls on a running guest.

Owns: the list; a new area is one line here.
"""

from __future__ import annotations

from supervisor.workers.qemu.calls.consoles import Consoles, HasGuest
from supervisor.workers.qemu.calls.display_and_input import Screen
from supervisor.workers.qemu.calls.interface_addresses import Addresses
from supervisor.workers.qemu.calls.monitor_and_agent import Talking
from supervisor.workers.qemu.calls.statistics import Statistics


def targets(worker: HasGuest) -> tuple[object, ...]:
    """The objects whose methods answer."""
    return (
        Consoles(worker),
        Screen(worker),
        Statistics(worker),
        Talking(worker),
        Addresses(worker),
    )
