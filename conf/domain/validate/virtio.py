"""Checks of the switches that every virtio device has, and of no other device.

Owns: these checks of a completed domain. Pure: a domain is read, never changed.
Source: libvirt 9.0 virDomainCheckVirtioOptionsAreAbsent.
"""

from __future__ import annotations

from conf.domain.devices.virtio import SWITCHES
from conf.errors import ConfError


def check_virtio_switches(driver: object, *, is_virtio: bool) -> None:
    """Refuse virtio's switches in the <driver> of another device.

    Args:
        driver: the element, of whatever class; None where there is none.
        is_virtio: whether the device is one of virtio's.

    Raises:
        ConfError: "config_unsupported".
    """
    if is_virtio:
        return
    for name, words in SWITCHES.items():
        if getattr(driver, name, None) is not None:
            detail = f"{words} is only supported for virtio devices"
            raise ConfError("config_unsupported", detail, f"driver/@{name}")
