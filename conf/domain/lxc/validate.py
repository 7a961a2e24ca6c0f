"""Checks of an LXC domain at its definition, as libvirt 9.0 has them.

Owns: these refusals. What a definition may have and a container cannot start with is refused by
`conf.domain.lxc.startable`. Pure: a domain is read, never changed.
Source: libvirt 9.0's lxc driver, measured.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices import Devices
from conf.domain.model import Domain
from conf.domain.validate.resources import check_cputune
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
#: Devices that the LXC driver supports, by the names of the model's fields.
SUPPORTED_DEVICES: Final = (
    "emulator",
    "disks",
    "filesystems",
    "interfaces",
    "consoles",
    "hostdevs",
)


def check_container(domain: Domain, host_arch: str) -> None:
    """Refuse elements that the LXC driver does not support.

    Raises:
        ConfError: the kind is the code that libvirt answers with.
    """
    kind = domain.os.type
    if kind is None or not kind.name:
        raise ConfError("xml", "an os <type> must be specified", "domain/os/type")
    if kind.name == "exe":
        _check_init(domain)
    _check_capabilities(domain, host_arch)
    check_cputune(domain)
    _check_devices(domain.devices)


def _check_init(domain: Domain) -> None:
    os = domain.os
    if not os.init:
        raise ConfError("xml", "init binary must be specified", "domain/os/init")
    if not all(os.init_args):
        raise ConfError("xml", "No data supplied for <initarg> element", "domain/os/initarg")
    for variable in os.init_variables:
        path = "domain/os/initenv"
        if variable.name is None:
            raise ConfError("xml", "No name supplied for <initenv> element", f"{path}/@name")
        if not variable.value:
            detail = f"No value supplied for <initenv name='{variable.name}'> element"
            raise ConfError("xml", detail, path)


def _check_capabilities(domain: Domain, host_arch: str) -> None:
    """Refuse what the driver's capabilities do not list: a type, a kind of guest, an arch."""
    kind = domain.os.type
    arch = kind.arch or host_arch
    runs = {host_arch} | ({"i686"} if host_arch == "x86_64" else set())
    if domain.type != "lxc" or kind.name != "exe" or arch not in runs:
        detail = (
            f"could not find capabilities for ostype={kind.name} arch={arch} "
            f"domaintype={domain.type}"
        )
        raise ConfError("invalid_arg", detail, "domain/os/type")


def _check_devices(devices: Devices) -> None:
    for field in fields(devices):
        if field.name not in SUPPORTED_DEVICES and getattr(devices, field.name):
            detail = f"containers have no devices of this kind ({field.name})"
            raise ConfError(UNSUPPORTED, detail, "domain/devices")
    for console in devices.consoles:
        if console.target_type not in (None, "none", "lxc"):
            detail = f"consoles of containers have the target 'lxc', not '{console.target_type}'"
            raise ConfError(UNSUPPORTED, detail, "domain/devices/console/target/@type")
