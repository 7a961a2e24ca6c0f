"""What a definition wants done when its guest powers off, reboots or crashes.

Owns: reading <on_poweroff>, <on_reboot>, <on_crash>. Pure.
Source: libvirt 9.0 formatdomain, "Events configuration".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conf.domain import Domain


class Action(StrEnum):
    """What is done with the emulator."""

    DESTROY = "destroy"  # it ends
    RESTART = "restart"  # its machine is reset and runs on
    PRESERVE = "preserve"  # it stays as it is, to be looked at, until a client ends it
    RENAME_RESTART = "rename-restart"  # it ends, and the domain is started by its definition


@dataclass(frozen=True, slots=True)
class LifecycleAction:
    """What is done, and whether the guest's memory is written out before."""

    action: Action
    dump: bool = False


DEFAULTS: Final = {"poweroff": "destroy", "reboot": "restart", "crash": "destroy"}


def on_poweroff(domain: Domain) -> LifecycleAction:
    """The guest has powered off."""
    return _parse_action(domain.on_poweroff or DEFAULTS["poweroff"])


def on_reboot(domain: Domain) -> LifecycleAction:
    """The guest reboots."""
    return _parse_action(domain.on_reboot or DEFAULTS["reboot"])


def on_crash(domain: Domain) -> LifecycleAction:
    """The guest's kernel has crashed."""
    return _parse_action(domain.on_crash or DEFAULTS["crash"])


def allows_reboot(domain: Domain) -> bool:
    """Whether a reboot is the machine's own business; else it stops the machine."""
    return on_reboot(domain).action is Action.RESTART


def _parse_action(value: str) -> LifecycleAction:
    if value.startswith("coredump-"):
        return LifecycleAction(Action(value.removeprefix("coredump-")), dump=True)
    return LifecycleAction(Action(value))
