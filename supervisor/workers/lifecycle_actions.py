"""Lifecycle actions of a domain: <on_poweroff>, <on_reboot>, <on_crash>.

Owns: their values and defaults. Pure.
Source: libvirt 9.0 formatdomain, "Events configuration".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conf.domain import Domain


class Action(StrEnum):
    """virDomainLifecycleAction: what is done with QEMU."""

    DESTROY = "destroy"  # QEMU is stopped
    RESTART = "restart"  # the machine is reset and runs on in the same QEMU
    PRESERVE = "preserve"  # QEMU stays with its vCPUs stopped until a client destroys it
    RENAME_RESTART = "rename-restart"  # QEMU is stopped, the domain is started with its definition


@dataclass(frozen=True, slots=True)
class LifecycleAction:
    """One action, and whether the guest's memory is dumped before it."""

    action: Action
    dump: bool = False


DEFAULTS: Final = {"poweroff": "destroy", "reboot": "restart", "crash": "destroy"}


def on_poweroff(domain: Domain) -> LifecycleAction:
    """Return the action for a guest that has powered off."""
    return _parse_action(domain.on_poweroff or DEFAULTS["poweroff"])


def on_reboot(domain: Domain) -> LifecycleAction:
    """Return the action for a guest that reboots."""
    return _parse_action(domain.on_reboot or DEFAULTS["reboot"])


def on_crash(domain: Domain) -> LifecycleAction:
    """Return the action for a guest whose kernel has crashed."""
    return _parse_action(domain.on_crash or DEFAULTS["crash"])


def allows_reboot(domain: Domain) -> bool:
    """Return whether QEMU itself resets the machine; else a reboot shuts it down (set-action)."""
    return on_reboot(domain).action is Action.RESTART


def _parse_action(value: str) -> LifecycleAction:
    if value.startswith("coredump-"):
        return LifecycleAction(Action(value.removeprefix("coredump-")), dump=True)
    return LifecycleAction(Action(value))
