"""What answers clients' calls on a running container.

Owns: the list; a new area is one line here.
"""

from __future__ import annotations

from supervisor.workers.lxc.calls.consoles import Consoles, ContainerProvider
from supervisor.workers.lxc.calls.namespaces import NamespaceCalls
from supervisor.workers.lxc.calls.statistics import Statistics


def call_targets(worker: ContainerProvider) -> tuple[object, ...]:
    """The objects whose methods answer."""
    return (Consoles(worker), Statistics(worker), NamespaceCalls(worker))
