"""What answers clients' calls on a running guest.

Owns: the list; a new area is one line here.
"""

from __future__ import annotations

from supervisor.workers.qemu.calls.consoles import Consoles, HasGuest
from supervisor.workers.qemu.calls.display_and_input import DisplayAndInput
from supervisor.workers.qemu.calls.interface_addresses import InterfaceAddressCalls
from supervisor.workers.qemu.calls.monitor_and_agent import MonitorAndAgent
from supervisor.workers.qemu.calls.statistics import Statistics


def targets(worker: HasGuest) -> tuple[object, ...]:
    """The objects whose methods answer."""
    return (
        Consoles(worker),
        DisplayAndInput(worker),
        Statistics(worker),
        MonitorAndAgent(worker),
        InterfaceAddressCalls(worker),
    )
