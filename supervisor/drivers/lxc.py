"""The LXC driver's row of the driver table. Pure."""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainConsoleFlags,
    DomainCreateFlags,
    DomainRebootFlagValues,
    DomainShutdownFlagValues,
    DomainStatsTypes,
)
from rpc.errors import ErrorDomain
from supervisor.drivers.driver import TYPED_STRINGS, Driver

LXC: Final = Driver(
    name="lxc",
    title="LXC",
    error_domain=ErrorDomain.LXC,
    # Containers take root's rights: a session daemon has none.
    system_paths=("/system", "", "/"),
    # Those of QEMU (`drivers.qemu`) without 11: a container's XML has no migratable form.
    features=frozenset({8, 9, 10, 14, 15, 16}),
    service="lxcd",
    routes={"domd": "lxcd", "worker": "lxcd"},
    worker_entry="supervisor.workers.lxc.main:run",
    completion="supervisor.domd.definition_builder:LxcCompletion",
    supported_flags={
        "DomainCreateWithFlags": DomainCreateFlags.START_PAUSED
        | DomainCreateFlags.START_AUTODESTROY,
        "DomainCreateXML": DomainCreateFlags.START_PAUSED
        | DomainCreateFlags.START_AUTODESTROY
        | DomainCreateFlags.START_VALIDATE,
        "DomainCreateWithFiles": DomainCreateFlags.START_AUTODESTROY,
        "DomainCreateXMLWithFiles": DomainCreateFlags.START_AUTODESTROY
        | DomainCreateFlags.START_VALIDATE,
        "DomainShutdownFlags": DomainShutdownFlagValues.INITCTL | DomainShutdownFlagValues.SIGNAL,
        "DomainReboot": DomainRebootFlagValues.INITCTL | DomainRebootFlagValues.SIGNAL,
        # What workers answer.
        "DomainOpenConsole": DomainConsoleFlags.FORCE | DomainConsoleFlags.SAFE,
        "DomainBlockStatsFlags": TYPED_STRINGS,
        "DomainGetCPUStats": TYPED_STRINGS,
    },
    worker_stats=DomainStatsTypes.CPU_TOTAL
    | DomainStatsTypes.BALLOON
    | DomainStatsTypes.INTERFACE
    | DomainStatsTypes.BLOCK,
    replaces_worker_after_start=True,
    scheduler_parameters=("cpu_shares", "vcpu_period", "vcpu_quota"),
    keeps_unlimited_memory=True,
)
