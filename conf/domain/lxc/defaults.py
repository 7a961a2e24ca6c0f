"""Defaults of an LXC domain: the values that its XML leaves open.

Owns: the values that a container's XML leaves open, and its validation.
May touch: the domain it is given, which it changes in place.
May not touch: the host, files.
Source: libvirt 9.0, measured in corpus/domain-lxc.jsonl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain.defaults import new_uuid
from conf.domain.devices.graphics_defaults import new_mac
from conf.domain.devices.interface import Mac
from conf.domain.general_defaults import (
    complete_clock,
    complete_memory,
    complete_seclabels,
    complete_tuning,
    complete_vcpus,
)
from conf.domain.lxc.validate import check_container
from conf.domain.model import Domain

EMULATOR: Final = "/usr/lib/libvirt/libvirt_lxc"


def complete_container(
    domain: Domain,
    host_arch: str,
    *,
    make_uuid: Callable[[], str] = new_uuid,
    make_mac: Callable[[], str] = new_mac,
) -> Domain:
    """Fill in the defaults, then check the domain. Idempotent.

    Args:
        domain: as it was read; it is changed, and answered.
        host_arch: the host's architecture.
        make_uuid: gives fresh UUIDs.
        make_mac: generates MAC addresses.

    Raises:
        ConfError: the container cannot be.
    """
    domain.uuid = domain.uuid or make_uuid()
    check_container(domain, host_arch)
    domain.os.type.arch = domain.os.type.arch or host_arch
    domain.on_poweroff = domain.on_poweroff or "destroy"
    domain.on_reboot = domain.on_reboot or "restart"
    domain.on_crash = domain.on_crash or "destroy"
    complete_vcpus(domain)
    complete_tuning(domain)
    complete_seclabels(domain)
    complete_clock(domain)
    _complete_devices(domain, make_mac)
    complete_memory(domain)
    return domain


def _complete_devices(domain: Domain, make_mac: Callable[[], str]) -> None:
    devices = domain.devices
    devices.emulator = devices.emulator or EMULATOR
    for interface in devices.interfaces:
        interface.mac_element = interface.mac_element or Mac()
        interface.mac_element.address = interface.mac_element.address or make_mac()
    for filesystem in devices.filesystems:
        filesystem.accessmode = filesystem.accessmode or "passthrough"
    for number, console in enumerate(devices.consoles):
        if console.target_type in (None, "none"):
            console.target_type = "lxc"
        console.target_port = number  # whatever the document says
