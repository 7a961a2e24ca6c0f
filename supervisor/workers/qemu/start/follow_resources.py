"""Makes the live XML of a reconnected guest say which vcpus, iothreads and memory QEMU has.

Owns: that comparison. May touch: QEMU, by queries; the live XML.

A worker can die between QEMU's change and the XML's, and a guest can release something while there
is no worker. The model is parsed only for a difference: most workers never need it.
"""

from __future__ import annotations

import re
from typing import Final

from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.iothreads import follow_iothreads
from supervisor.workers.qemu.memory_devices import MemoryModule, follow_memory
from supervisor.workers.qemu.qmp.monitor import Monitor, Query
from supervisor.workers.qemu.qmp.replies import CpuInfoFast, IOThreadInfo
from supervisor.workers.qemu.vcpus import follow_vcpus

VCPUS: Final = re.compile(r"<vcpu (?:[^>]* )?current='(\d+)'|<vcpu[^>]*>(\d+)</vcpu>")
MODULE: Final = "\n    <memory model="
IOTHREADS: Final = re.compile(r"<iothreads>(\d+)</iothreads>")

QUERIES: Final = (
    Query("query-cpus-fast", list[CpuInfoFast]),
    Query("query-iothreads", list[IOThreadInfo]),
    Query("query-memory-devices", list[MemoryModule]),
)


async def follow_resources(guest: Guest, monitor: Monitor) -> None:
    """Compare the numbers of vcpus, iothreads and memory modules, and follow what differs.

    Raises:
        VirError: QEMU does not reply.
    """
    counts = [
        len(reply) if isinstance(reply, list) else None
        for reply in await monitor.query_all(QUERIES)
    ]
    recorded = recorded_counts(guest.live_xml)
    for found, known, follow in zip(
        counts, recorded, (follow_vcpus, follow_iothreads, follow_memory), strict=True
    ):
        if found is not None and found != known:
            await follow(guest)


def recorded_counts(xml: str) -> tuple[int, int, int]:
    """Count the vcpus, iothreads and memory modules of live XML, as this daemon writes it. Pure."""
    vcpus = VCPUS.search(xml)
    iothreads = IOTHREADS.search(xml)
    return (
        int(vcpus[1] or vcpus[2]) if vcpus else 1,
        int(iothreads[1]) if iothreads else 0,
        xml.count(MODULE),
    )
