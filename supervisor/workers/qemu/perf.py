"""<perf>: which events of the host's are counted for a QEMU.

Owns: that choice. May touch: /proc, to list QEMU's threads; the live XML.
Source: libvirt 9.0, qemuDomainSetPerfEvents, virConnectGetAllDomainStats.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from conf.domain.perf import set_perf_events
from rpc.enums import TypedParameterType as P
from rpc.errors import VirError
from supervisor.messages.worker import StatsParam
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.threads import thread_ids

log = logging.getLogger(__name__)


def enable_events(guest: Guest) -> None:
    """Count the events that the XML enables.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED, SYSTEM_ERROR: the host does not count one.
    """
    for event in guest.domain.perf:
        if event.enabled:
            guest.perf.enable(event.name, thread_ids(guest.process.pid))


def restore_events(guest: Guest) -> None:
    """Count the events again after a worker's end; the counts begin anew, as stock's do."""
    if "<perf>" not in guest.live_xml:
        return
    try:
        enable_events(guest)
    except VirError as error:
        log.warning("%s: %s", guest.name, error)


def set_events(guest: Guest, values: Mapping[str, bool]) -> None:
    """Change which events are counted.

    Raises:
        VirError: the host does not count one; none of the others is counted then that was not.
    """
    added = []
    try:
        for name, enabled in values.items():
            if enabled and not guest.perf.counts(name):
                guest.perf.enable(name, thread_ids(guest.process.pid))
                added.append(name)
    except VirError:
        for name in added:
            guest.perf.disable(name)
        raise
    for name, enabled in values.items():
        if not enabled:
            guest.perf.disable(name)
    set_perf_events(guest.domain, values)
    guest.update_xml({"perf"})


def perf_stats(guest: Guest) -> Iterator[StatsParam]:
    """List the counts for virConnectGetAllDomainStats."""
    for name, count in guest.perf.read():
        yield StatsParam(f"perf.{name}", P.ULLONG, count)
