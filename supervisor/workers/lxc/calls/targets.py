"""What answers clients' calls on a running container.

Owns: the list; a new area is one line here.
"""

from __future__ import annotations

from supervisor.workers.lxc.calls.consoles import Consoles, HasContainer
from supervisor.workers.lxc.calls.namespaces import Inside
from supervisor.workers.lxc.calls.statistics import Statistics


def targets(worker: HasContainer) -> tuple[object, ...]:
    """The objects whose methods answer."""
    return (Consoles(worker), Statistics(worker), Inside(worker))
