"""Firmware of <os firmware=''>, chosen by QEMU's firmware descriptors.

Owns: reading the descriptors, and which of them satisfies a domain.
May touch: the descriptors' files, for reading; the domain that is given, which it changes in place.
May not touch: the firmware's own files, definitions.
Source: QEMU's docs/interop/firmware.json; libvirt 9.0, qemuFirmwareFillDomain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from conf.domain import Domain
from conf.domain.features import Features, Smm
from conf.domain.os import Loader
from conf.domain.os_defaults import complete_nvram
from conf.errors import ConfError

log: Final = logging.getLogger(__name__)

INTERFACES: Final = {"efi": "uefi", "bios": "bios"}  # <os firmware=> to "interface-types"


class FlashFile(msgspec.Struct, frozen=True):
    """A file that QEMU maps as a flash chip, or the template of one."""

    filename: str
    format: str = "raw"


class Mapping(msgspec.Struct, frozen=True, rename="kebab"):
    """How the guest gets the firmware: "flash" chips or a ROM in "memory"."""

    device: str
    mode: str = "split"  # "split": code and variables are two files
    executable: FlashFile | None = None
    nvram_template: FlashFile | None = None
    filename: str = ""  # of device "memory"


class Target(msgspec.Struct, frozen=True):
    """An architecture and the machines, as globs, on which the firmware runs."""

    architecture: str
    machines: list[str]


class Descriptor(msgspec.Struct, frozen=True, rename="kebab"):
    """A firmware descriptor."""

    interface_types: list[str]
    mapping: Mapping
    targets: list[Target]
    features: list[str] = []


def read_descriptors(directories: Iterable[Path]) -> list[Descriptor]:
    """Read the firmware descriptors, in order of their file names.

    Args:
        directories: a file replaces files of the same name in earlier directories; an empty file,
            or a link to /dev/null, hides them.
    """
    files = {path.name: path for folder in directories for path in sorted(folder.glob("*.json"))}
    descriptors = []
    for _, path in sorted(files.items()):
        try:
            content = path.read_bytes()
            if content:
                descriptors.append(msgspec.json.decode(content, type=Descriptor))
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("firmware descriptor '%s' is ignored: %s", path, error)
    return descriptors


def fill_firmware(domain: Domain, descriptors: Sequence[Descriptor], nvram: Path) -> None:
    """Replace <os firmware=> by the <loader>, <nvram> and SMM state of the first that fits.

    Args:
        domain: of a start; a definition keeps firmware='efi', so that each start chooses.
        descriptors: in order of preference.
        nvram: where the domain's variable store is if its XML does not say.

    Raises:
        ConfError: "operation_failed": none fits; "config_unsupported": it needs SMM, which is off.
    """
    os = domain.os
    if os.firmware is None or (os.loader is not None and os.loader.path):
        return
    for descriptor in descriptors:
        if _fits(domain, descriptor):
            _apply(domain, descriptor, str(nvram))
            return
    raise ConfError("operation_failed", f"Unable to find any firmware to satisfy '{os.firmware}'")


def _fits(domain: Domain, descriptor: Descriptor) -> bool:
    os, features = domain.os, set(descriptor.features)
    secure = os.loader.secure if os.loader is not None else None
    if INTERFACES.get(os.firmware or "") not in descriptor.interface_types:
        return False
    if not any(_is_target(target, domain) for target in descriptor.targets):
        return False
    if any(feature.enabled != (feature.name in features) for feature in os.firmware_features):
        return False
    # secure='yes' means that only code in SMM may write the flash.
    if secure is not None and secure != ("requires-smm" in features):
        return False
    return _has_usable_mapping(domain, descriptor.mapping)


def _is_target(target: Target, domain: Domain) -> bool:
    machine = domain.os.type.machine or ""
    return target.architecture == domain.os.type.arch and any(
        fnmatchcase(machine, pattern) for pattern in target.machines
    )


def _has_usable_mapping(domain: Domain, mapping: Mapping) -> bool:
    loader = domain.os.loader
    kind = loader.type if loader is not None else None
    if mapping.device == "memory":
        return bool(mapping.filename) and kind in (None, "rom") and domain.os.nvram is None
    stateless = bool(loader is not None and loader.stateless)
    file = mapping.executable
    return (
        mapping.device == "flash"
        and kind in (None, "pflash")
        and mapping.mode == ("stateless" if stateless else "split")
        # A <loader> of libvirt 9.0 has no format: QEMU is given the file as raw.
        and file is not None
        and file.format == "raw"
        and (stateless or (mapping.nvram_template is not None))
    )


def _apply(domain: Domain, descriptor: Descriptor, nvram: str) -> None:
    os, mapping = domain.os, descriptor.mapping
    loader = os.loader = os.loader or Loader()
    if mapping.executable is not None:
        loader.type, loader.readonly, loader.path = "pflash", True, mapping.executable.filename
    else:
        loader.type, loader.path = "rom", mapping.filename
    os.firmware = None
    if "requires-smm" in descriptor.features:
        _enable_smm(domain)
        loader.secure = True
    complete_nvram(os, nvram)
    if os.nvram is not None and os.nvram.template is None and mapping.nvram_template is not None:
        os.nvram.template = mapping.nvram_template.filename


def _enable_smm(domain: Domain) -> None:
    features = domain.features = domain.features or Features()
    smm = features.smm = features.smm or Smm()
    if smm.state is False:
        detail = "domain has SMM turned off but chosen firmware requires it"
        raise ConfError("config_unsupported", detail, "domain/features/smm")
    smm.state = True
