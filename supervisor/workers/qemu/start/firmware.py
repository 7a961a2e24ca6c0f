"""Firmware of <os firmware=''>, chosen by QEMU's firmware descriptors.

Owns: which descriptor satisfies a domain.
May touch: the domain that is given, which it changes in place.
May not touch: files, definitions.
Source: QEMU's docs/interop/firmware.json; libvirt 9.0, qemuFirmwareFillDomain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conf.domain import Domain
from conf.domain.features import Features, Smm
from conf.domain.os import Loader
from conf.domain.os_defaults import complete_nvram
from conf.errors import ConfError
from supervisor.images.firmware_descriptors import INTERFACES, Descriptor, Mapping


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
    if not descriptor.runs_on(os.type.arch or "", os.type.machine or ""):
        return False
    if any(feature.enabled != (feature.name in features) for feature in os.firmware_features):
        return False
    # secure='yes' means that only code in SMM may write the flash.
    if secure is not None and secure != ("requires-smm" in features):
        return False
    return _has_usable_mapping(domain, descriptor.mapping)


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
