"""Defaults of <os>: machine, firmware, boot devices.

Owns: machine, firmware and boot order left open. Pure; changes the domain that it is given.
May not touch: the host's firmware files (a start looks for them).
"""

from __future__ import annotations

from conf.domain.devices.disk_defaults import complete_hosts
from conf.domain.model import Domain
from conf.domain.os import Boot, FirmwareFeature, Nvram, Os
from conf.emulator import EmulatorFacts
from conf.errors import ConfError


def complete_os(domain: Domain, facts: EmulatorFacts) -> None:
    """Name the architecture and the machine in full.

    Raises:
        ConfError: there is no <type>; "invalid_arg": no machine is named, and the emulator cannot
            run this type of domain at all.
    """
    if domain.os.type is None:
        raise ConfError("xml", "an os <type> must be specified", "domain/os/type")
    kind = domain.os.type
    kind.arch = kind.arch or facts.arch
    if kind.machine is None:
        default = facts.default_machine()
        if default is None or facts.accelerator(domain.type) is None:
            detail = f"could not get preferred machine for {facts.binary} type={domain.type}"
            raise ConfError("invalid_arg", detail, "domain/os/type/@machine")
        kind.machine = default.name
    else:
        kind.machine = facts.canonical_machine(kind.machine)
    _complete_firmware(domain.os)


def _complete_firmware(os: Os) -> None:
    loader = os.loader
    if loader is not None and loader.path and loader.type is None:
        loader.type = "rom"
    named = {feature.name: feature.enabled for feature in os.firmware_features}
    if named.get("enrolled-keys") and "secure-boot" not in named:
        os.firmware_features.append(FirmwareFeature(enabled=True, name="secure-boot"))
    if os.nvram is not None and os.nvram.source is not None:
        complete_hosts(os.nvram.source)
    menu = os.bootmenu
    if menu is not None and not menu.enable:
        menu.timeout = None


def complete_boot(domain: Domain) -> None:
    """Add <boot dev='hd'/> where neither <os> nor a device has a boot order."""
    if not domain.os.boot_devices and not domain.boot_orders():
        domain.os.boot_devices.append(Boot(dev="hd"))


def complete_nvram(os: Os, path: str) -> None:
    """Name the variable store of a guest whose UEFI is a read-only pflash <loader>.

    Without a store the guest would lose its boot entries and keys at each start. A <loader> that
    is writable keeps its variables itself, and one of <os firmware=> is chosen at a start.
    """
    loader = os.loader
    if os.firmware is not None or loader is None or not loader.path:
        return
    if loader.type != "pflash" or not loader.readonly or loader.stateless:
        return
    os.nvram = os.nvram or Nvram()
    if os.nvram.source is None and not (os.nvram.path or "").strip():
        os.nvram.path = path
