"""Changing which events of the host's are counted for a guest. Pure.

Owns: <perf>. May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0 formatdomain, "Performance monitoring events".
"""

from __future__ import annotations

from collections.abc import Mapping

from conf.domain.model import Domain
from conf.domain.security import PERF_EVENTS, PerfEvent


def set_perf_events(domain: Domain, values: Mapping[str, bool]) -> None:
    """Enable or disable events; they are listed in libvirt's order."""
    states = {event.name: event.enabled for event in domain.perf} | dict(values)
    domain.perf = [
        PerfEvent(name=name, enabled=states[name]) for name in PERF_EVENTS if name in states
    ]
