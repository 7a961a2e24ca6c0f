"""Checks of a QEMU domain's firmware.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.architectures import X86
from conf.domain.model import Domain
from conf.domain.os import Os
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/os"


def check_firmware_features(os: Os) -> None:
    """Check the features of firmware that the host chooses; libvirt does so at once.

    Raises:
        ConfError: "xml_detail".
    """
    features = {feature.name: feature.enabled for feature in os.firmware_features}
    chosen = os.firmware is not None
    if chosen and features.get("enrolled-keys") and features.get("secure-boot") is False:
        detail = (
            "firmware feature 'enrolled-keys' cannot be enabled when firmware feature "
            "'secure-boot' is disabled"
        )
        raise ConfError("xml_detail", detail, f"{PATH}/firmware/feature")


def check_chosen_firmware(os: Os) -> None:
    """Check what a document says of firmware that it leaves to the host, or does not.

    Raises:
        ConfError: "xml_detail".
    """
    if os.firmware is None:
        _check_named(os)
        return
    loader, nvram = os.loader, os.nvram
    said = {"readonly": loader.readonly, "type": loader.type} if loader else {}
    for name, value in said.items():
        if value is not None:
            detail = (
                f"loader attribute '{name}' cannot be specified when firmware autoselection is "
                "enabled"
            )
            raise ConfError("xml_detail", detail, f"{PATH}/loader/@{name}")
    if loader is not None and loader.path:
        detail = "loader path cannot be specified when firmware autoselection is enabled"
        raise ConfError("xml_detail", detail, f"{PATH}/loader")
    if nvram is not None and nvram.template:
        detail = (
            "nvram attribute 'template' cannot be specified when firmware autoselection is enabled"
        )
        raise ConfError("xml_detail", detail, f"{PATH}/nvram/@template")
    if os.firmware == "bios":
        if nvram is not None:
            detail = "firmware type 'bios' does not support nvram"
            raise ConfError("xml_detail", detail, f"{PATH}/nvram")
        if loader is not None and loader.stateless is False:
            raise ConfError("xml_detail", "Only EFI firmware permits NVRAM", f"{PATH}/loader")


def _check_named(os: Os) -> None:
    """Check a document that names the firmware, or has none to name."""
    loader, nvram = os.loader, os.nvram
    if os.firmware_features:
        detail = (
            "cannot use feature-based firmware autoselection when firmware autoselection is "
            "disabled"
        )
        raise ConfError("xml_detail", detail, f"{PATH}/firmware")
    if (loader is not None or nvram is not None) and not (loader and loader.path):
        detail = "no loader path specified and firmware auto selection disabled"
        raise ConfError("xml_detail", detail, f"{PATH}/loader")
    if loader is None or loader.type == "pflash":
        return
    if loader.readonly is False:
        detail = "ROM loader type cannot be used as read/write"
        raise ConfError("xml_detail", detail, f"{PATH}/loader/@readonly")
    if loader.stateless is False:
        detail = "Only pflash loader type permits NVRAM"
        raise ConfError("xml_detail", detail, f"{PATH}/loader/@stateless")


def check_firmware(domain: Domain) -> None:
    """Check the firmware against the machine.

    Raises:
        ConfError: "config_unsupported"; "xml_detail".
    """
    os, features = domain.os, domain.features
    loader = os.loader
    efi = os.firmware == "efi" or (loader is not None and loader.type == "pflash")
    writable = loader is not None and loader.readonly is False
    if efi and not writable and os.type.arch in X86 and not (features and features.acpi):
        raise ConfError(UNSUPPORTED, "UEFI requires ACPI on this architecture", PATH)
    if loader is not None and loader.stateless and os.nvram is not None:
        detail = "NVRAM is not permitted when loader is stateless"
        raise ConfError("xml_detail", detail, f"{PATH}/nvram")
    if loader is None or not loader.secure or os.firmware is not None:
        return
    if os.type.arch not in X86:
        raise ConfError(UNSUPPORTED, "Secure boot is supported for x86 architectures only")
    if not (os.type.machine or "").startswith("pc-q35-"):
        raise ConfError(UNSUPPORTED, "Secure boot is supported with q35 machine types only")
    if not (features and features.smm and features.smm.state):
        raise ConfError(UNSUPPORTED, "Secure boot requires SMM feature enabled")
