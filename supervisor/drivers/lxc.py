"""The LXC driver's row of the driver table. Pure."""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainCreateFlags,
    DomainRebootFlagValues,
    DomainShutdownFlagValues,
    DomainStatsTypes,
)
from rpc.errors import ErrorDomain
from supervisor.drivers.driver import Driver

LXC: Final = Driver(
    name="lxc",
    service="lxcd",
    error_domain=ErrorDomain.LXC,
    create_flags=DomainCreateFlags.START_PAUSED | DomainCreateFlags.START_AUTODESTROY,
    create_xml_flags=DomainCreateFlags.START_PAUSED
    | DomainCreateFlags.START_AUTODESTROY
    | DomainCreateFlags.START_VALIDATE,
    destroy_flags=0,
    undefine_flags=0,
    shutdown_flags=DomainShutdownFlagValues.INITCTL | DomainShutdownFlagValues.SIGNAL,
    reboot_flags=DomainRebootFlagValues.INITCTL | DomainRebootFlagValues.SIGNAL,
    renews_workers=True,
    resumes_first=False,
    sampled=DomainStatsTypes.CPU_TOTAL
    | DomainStatsTypes.BALLOON
    | DomainStatsTypes.INTERFACE
    | DomainStatsTypes.BLOCK,
)
