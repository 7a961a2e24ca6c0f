"""What the registry of domains must know of the driver whose domains it keeps.

Owns: that description, one of each driver. Pure.

The registry is written once; a process of it runs for each driver (`domd` for QEMU's guests, `lxcd`
for containers). Its own refusals are worded as QEMU's, and given the driver's name as they leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rpc.enums import (
    DomainCreateFlags,
    DomainDestroyFlagsValues,
    DomainRebootFlagValues,
    DomainShutdownFlagValues,
    DomainStatsTypes,
    DomainUndefineFlagsValues,
)
from rpc.errors import ErrorDomain, VirError

SHARED_WORD: Final = "function qemu"  # how the shared refusals begin the name of a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One driver."""

    name: str  # of its folders, its workers' role, its clients' URIs and events
    service: str  # the process that keeps its domains
    error_domain: ErrorDomain
    create_flags: int
    create_xml_flags: int
    destroy_flags: int
    undefine_flags: int
    shutdown_flags: int
    reboot_flags: int
    renews_workers: bool  # one that has started a guest is replaced: reading documents makes it big
    resumes_first: bool  # clients hear of a start as RESUMED and then STARTED
    sampled: int  # groups of figures (virDomainStatsTypes) that only workers know

    def worker(self, domain: str) -> str:
        """What a domain's worker is called on the bus."""
        return f"{self.name}:{domain}"

    def voice(self, error: VirError) -> VirError:
        """A refusal of the shared code in this driver's name; others stay as they are."""
        if error.domain is not ErrorDomain.QEMU or self.error_domain is ErrorDomain.QEMU:
            return error
        detail = error.detail.replace(SHARED_WORD, f"function {self.name}")
        spoken = VirError(error.code, detail, self.error_domain, level=error.level)
        spoken.strings, spoken.ints = error.strings, error.ints
        return spoken


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
