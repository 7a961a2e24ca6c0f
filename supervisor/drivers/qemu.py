"""The QEMU driver's row of the driver table. Pure."""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainCreateFlags,
    DomainDestroyFlagsValues,
    DomainRebootFlagValues,
    DomainShutdownFlagValues,
    DomainStatsTypes,
    DomainUndefineFlagsValues,
)
from rpc.errors import ErrorDomain
from supervisor.drivers.driver import Driver

QEMU: Final = Driver(
    name="qemu",
    service="domd",
    error_domain=ErrorDomain.QEMU,
    # Bypassing caches matters only for saved guests.
    create_flags=DomainCreateFlags.START_PAUSED
    | DomainCreateFlags.START_AUTODESTROY
    | DomainCreateFlags.START_BYPASS_CACHE
    | DomainCreateFlags.START_FORCE_BOOT
    | DomainCreateFlags.START_RESET_NVRAM,
    create_xml_flags=DomainCreateFlags.START_PAUSED
    | DomainCreateFlags.START_AUTODESTROY
    | DomainCreateFlags.START_VALIDATE
    | DomainCreateFlags.START_RESET_NVRAM,
    destroy_flags=DomainDestroyFlagsValues.GRACEFUL,
    undefine_flags=DomainUndefineFlagsValues.MANAGED_SAVE
    | DomainUndefineFlagsValues.SNAPSHOTS_METADATA
    | DomainUndefineFlagsValues.NVRAM
    | DomainUndefineFlagsValues.KEEP_NVRAM
    | DomainUndefineFlagsValues.CHECKPOINTS_METADATA
    | DomainUndefineFlagsValues.TPM
    | DomainUndefineFlagsValues.KEEP_TPM,
    shutdown_flags=DomainShutdownFlagValues.ACPI_POWER_BTN | DomainShutdownFlagValues.GUEST_AGENT,
    reboot_flags=DomainRebootFlagValues.ACPI_POWER_BTN | DomainRebootFlagValues.GUEST_AGENT,
    renews_workers=False,
    resumes_first=True,
    sampled=DomainStatsTypes.BALLOON
    | DomainStatsTypes.VCPU
    | DomainStatsTypes.INTERFACE
    | DomainStatsTypes.BLOCK
    | DomainStatsTypes.IOTHREAD,
)
