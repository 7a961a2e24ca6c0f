"""Taints: what of a running domain is outside of what the daemon can answer for.

Owns: their names, their texts and their order. Pure.
Source: libvirt 9.0, virDomainTaintFlags, virDomainObjGetMessages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Final


class Taint(StrEnum):
    """VirDomainTaintFlags, in libvirt's order; the values are its names in logs."""

    CUSTOM_ARGV = "custom-argv"
    CUSTOM_MONITOR = "custom-monitor"
    HIGH_PRIVILEGES = "high-privileges"
    SHELL_SCRIPTS = "shell-scripts"
    DISK_PROBING = "disk-probing"
    EXTERNAL_LAUNCH = "external-launch"
    HOST_CPU = "host-cpu"
    HOOK_SCRIPT = "hook-script"
    CDROM_PASSTHROUGH = "cdrom-passthrough"
    CUSTOM_DTB = "custom-dtb"
    CUSTOM_GA_COMMAND = "custom-ga-command"
    CUSTOM_HYPERVISOR_FEATURE = "custom-hypervisor-feature"
    DEPRECATED_CONFIG = "deprecated-config"
    CUSTOM_DEVICE = "custom-device"


TEXTS: Final = {
    Taint.CUSTOM_ARGV: "custom configuration parameters specified",
    Taint.CUSTOM_MONITOR: "custom monitor control commands issued",
    Taint.HIGH_PRIVILEGES: "running with undesirable elevated privileges",
    Taint.SHELL_SCRIPTS: "network configuration using opaque shell scripts",
    Taint.DISK_PROBING: "use of unsafe disk format probing",
    Taint.EXTERNAL_LAUNCH: "managed externally launched configuration",
    Taint.HOST_CPU: "potentially unsafe use of host CPU passthrough",
    Taint.HOOK_SCRIPT: "configuration potentially modified by hook script",
    Taint.CDROM_PASSTHROUGH: "use of cdrom passthrough",
    Taint.CUSTOM_DTB: "custom device tree blob used",
    Taint.CUSTOM_GA_COMMAND: "custom guest agent control commands issued",
    Taint.CUSTOM_HYPERVISOR_FEATURE: "hypervisor feature autodetection override",
    Taint.DEPRECATED_CONFIG: "use of deprecated configuration settings",
    Taint.CUSTOM_DEVICE: "custom device configuration",
}


def taint_messages(taints: Collection[str]) -> Iterator[str]:
    """Write the messages of taints, in libvirt's order."""
    for taint in Taint:
        if taint in taints:
            yield f"tainted: {TEXTS[taint]}"


def deprecation_messages(deprecations: Iterable[str]) -> Iterator[str]:
    """Write the messages of deprecated settings."""
    for setting in deprecations:
        yield f"deprecated configuration: {setting}"
