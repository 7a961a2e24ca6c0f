"""The QEMU driver's row of the driver table. Pure."""

from __future__ import annotations

from typing import Final

from rpc.enums import (
    DomainAuthorizedSSHKeysSetFlags,
    DomainBlockResizeFlags,
    DomainChannelFlags,
    DomainConsoleFlags,
    DomainCreateFlags,
    DomainDestroyFlagsValues,
    DomainDirtyRateCalcFlags,
    DomainGetHostnameFlags,
    DomainMemoryFlags,
    DomainOpenGraphicsFlags,
    DomainQemuMonitorCommandFlags,
    DomainRebootFlagValues,
    DomainSetTimeFlags,
    DomainSetUserPasswordFlags,
    DomainShutdownFlagValues,
    DomainStatsTypes,
    DomainUndefineFlagsValues,
)
from rpc.errors import ErrorDomain
from supervisor.drivers.driver import TYPED_STRINGS, Driver
from supervisor.drivers.qemu_arguments import ARGUMENT_CHECKS

QEMU: Final = Driver(
    name="qemu",
    title="QEMU",
    error_domain=ErrorDomain.QEMU,
    # A system daemon has always served /session too: its own, not the caller's.
    system_paths=("/system", "/session"),
    session_paths=("/session",),
    # 8 descriptors, 9 string parameters, 10 keepalive, 11 migratable XML, 14 callback numbers,
    # 15 close callback, 16 the order of a network update's arguments. The migration features
    # (3 4 6 7 12 13) follow with migration itself.
    features=frozenset({8, 9, 10, 11, 14, 15, 16}),
    service="domd",
    routes={"worker": "domd"},
    worker_entry="supervisor.workers.qemu.main:run",
    completion="supervisor.domd.definition_builder:QemuCompletion",
    supported_flags={
        # Bypassing caches matters only for saved guests.
        "DomainCreateWithFlags": DomainCreateFlags.START_PAUSED
        | DomainCreateFlags.START_AUTODESTROY
        | DomainCreateFlags.START_BYPASS_CACHE
        | DomainCreateFlags.START_FORCE_BOOT
        | DomainCreateFlags.START_RESET_NVRAM,
        "DomainCreateXML": DomainCreateFlags.START_PAUSED
        | DomainCreateFlags.START_AUTODESTROY
        | DomainCreateFlags.START_VALIDATE
        | DomainCreateFlags.START_RESET_NVRAM,
        "DomainDestroyFlags": DomainDestroyFlagsValues.GRACEFUL
        | DomainDestroyFlagsValues.REMOVE_LOGS,
        "DomainUndefineFlags": DomainUndefineFlagsValues.MANAGED_SAVE
        | DomainUndefineFlagsValues.SNAPSHOTS_METADATA
        | DomainUndefineFlagsValues.NVRAM
        | DomainUndefineFlagsValues.KEEP_NVRAM
        | DomainUndefineFlagsValues.CHECKPOINTS_METADATA
        | DomainUndefineFlagsValues.TPM
        | DomainUndefineFlagsValues.KEEP_TPM,
        "DomainShutdownFlags": DomainShutdownFlagValues.ACPI_POWER_BTN
        | DomainShutdownFlagValues.GUEST_AGENT,
        "DomainReboot": DomainRebootFlagValues.ACPI_POWER_BTN | DomainRebootFlagValues.GUEST_AGENT,
        # What workers answer.
        "DomainOpenConsole": DomainConsoleFlags.FORCE | DomainConsoleFlags.SAFE,
        "DomainOpenChannel": DomainChannelFlags.FORCE,
        "DomainOpenGraphics": DomainOpenGraphicsFlags.SKIPAUTH,
        "DomainOpenGraphicsFD": DomainOpenGraphicsFlags.SKIPAUTH,
        "DomainBlockStatsFlags": TYPED_STRINGS,
        "DomainGetCPUStats": TYPED_STRINGS,
        "DomainGetDiskErrors": TYPED_STRINGS,
        "DomainQemuMonitorCommand": DomainQemuMonitorCommandFlags.HMP,
        "DomainGetHostname": DomainGetHostnameFlags.LEASE | DomainGetHostnameFlags.AGENT,
        "DomainSetTime": DomainSetTimeFlags.SYNC,
        "DomainMemoryPeek": DomainMemoryFlags.VIRTUAL | DomainMemoryFlags.PHYSICAL,
        "DomainBlockResize": DomainBlockResizeFlags.BYTES,
        "DomainStartDirtyRateCalc": DomainDirtyRateCalcFlags.DIRTY_BITMAP
        | DomainDirtyRateCalcFlags.DIRTY_RING,
        "DomainQemuMonitorCommandWithFiles": DomainQemuMonitorCommandFlags.HMP,
        "DomainSetUserPassword": DomainSetUserPasswordFlags.ENCRYPTED,
        "DomainAuthorizedSSHKeysSet": DomainAuthorizedSSHKeysSetFlags.APPEND
        | DomainAuthorizedSSHKeysSetFlags.REMOVE,
    },
    argument_checks=ARGUMENT_CHECKS,
    worker_stats=DomainStatsTypes.BALLOON
    | DomainStatsTypes.VCPU
    | DomainStatsTypes.INTERFACE
    | DomainStatsTypes.BLOCK
    | DomainStatsTypes.IOTHREAD
    | DomainStatsTypes.DIRTYRATE
    | DomainStatsTypes.PERF,
    publishes_resumed_on_start=True,
    has_balloon=True,
    scheduler_parameters=(
        "cpu_shares",
        "vcpu_period",
        "vcpu_quota",
        "emulator_period",
        "emulator_quota",
        "global_period",
        "global_quota",
        "iothread_period",
        "iothread_quota",
    ),
)
