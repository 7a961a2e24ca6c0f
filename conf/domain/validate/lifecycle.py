"""Lifecycle actions that QEMU's driver refuses: <on_poweroff>, <on_reboot>, <on_crash>.

Owns: those checks, for definitions and for a change of one action.
May touch: nothing; a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.errors import ConfError


def check_lifecycle_actions(domain: Domain) -> None:
    """Refuse actions that no guest of QEMU can have.

    Raises:
        ConfError: "config_unsupported".
    """
    poweroff, reboot = domain.on_poweroff, domain.on_reboot
    if "rename-restart" in (poweroff, reboot, domain.on_crash):
        detail = (
            "qemu driver doesn't support the 'rename-restart' action for "
            "'on_reboot'/'on_poweroff'/'on_crash'"
        )
        raise ConfError("config_unsupported", detail)
    if "preserve" in (poweroff, reboot):
        detail = "qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'"
        raise ConfError("config_unsupported", detail)
    if poweroff == "restart" and reboot == "destroy":
        # QEMU is told one of them by -no-reboot, and cannot tell the two apart then.
        detail = (
            "qemu driver doesn't support 'onReboot' set to 'destroy and 'onPoweroff' set to "
            "'reboot'"
        )
        raise ConfError("config_unsupported", detail)
