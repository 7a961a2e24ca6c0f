"""The classes that answer clients' calls on a running container.

Owns: the list; a new class is one line here.
"""

from __future__ import annotations

from supervisor.workers.lxc.calls.consoles import Consoles, ContainerProvider
from supervisor.workers.lxc.calls.namespaces import NamespaceCalls
from supervisor.workers.lxc.calls.statistics import Statistics


def call_targets(worker: ContainerProvider) -> tuple[object, ...]:
    """Return the objects whose methods answer calls."""
    return (Consoles(worker), Statistics(worker), NamespaceCalls(worker))
