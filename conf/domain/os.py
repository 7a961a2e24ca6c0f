"""<os>: what a guest boots and by which firmware; <sysinfo>, what its SMBIOS says.

Source: libvirt 9.0 formatdomain, "Operating system booting" and "SMBIOS System Information".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from conf.domain.architectures import ARCHITECTURES
from conf.domain.devices.source import Source
from conf.domain.lxc.model import InitVariable
from conf.errors import ConfError
from conf.mapper import When, attribute, child, children, element, text, texts
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import int_signed, uint
from conf.types.uuid import parse_uuid

#: Kinds of guests that libvirt knows; which of them a driver runs is checked later.
OS_TYPES = one_of("hvm", "xen", "linux", "exe", "uml", "xenpvh", unknown="unknown OS type '{}'")


@element("type", read_first=("name",))
@dataclass(slots=True, kw_only=True)
class OsType:
    """<type>: the kind of guest, its architecture and machine."""

    arch: str | None = attribute(
        "@arch",
        read=one_of(*sorted(ARCHITECTURES), unknown="Unknown architecture {}"),
        empty_is_absent=True,
    )
    machine: str | None = attribute("@machine", empty_is_absent=True)
    name: str = text(".", read=OS_TYPES, default="", omit="")


@element("feature")
@dataclass(slots=True, kw_only=True)
class FirmwareFeature:
    """A property that automatically chosen firmware must have, or not."""

    enabled: bool = attribute("@enabled", read=yes_no, default=False, required=True)
    name: str = attribute(
        "@name", read=one_of("enrolled-keys", "secure-boot"), default="", required=True
    )


@element("loader", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Loader:
    """<loader>: the firmware's file."""

    readonly: bool | None = attribute("@readonly", read=yes_no)
    secure: bool | None = attribute("@secure", read=yes_no)
    type: str | None = attribute("@type", read=one_of("rom", "pflash", "none"))
    stateless: bool | None = attribute("@stateless", read=yes_no)
    path: str | None = text(".", omit="")


@element("nvram")
@dataclass(slots=True, kw_only=True)
class Nvram:
    """<nvram>: the guest's own copy of the firmware's variables."""

    template: str | None = attribute("@template")
    type: str | None = attribute("@type", read=one_of("file", "block", "network"))
    source: Source | None = child("source", Source)
    path: str | None = text(".", omit="")

    def after_read(self) -> None:
        """Ignore the element's text where it has a <source>.

        Raises:
            ConfError: "xml": a source on the network has no protocol.
        """
        if self.source is not None:
            self.path = None
        if self.type is not None and self.source is not None:
            self.source.keep_type(self.type)


@element("boot")
@dataclass(slots=True, kw_only=True)
class Boot:
    """<boot>: one kind of device to boot from."""

    dev: str = attribute(
        "@dev", read=one_of("hd", "fd", "cdrom", "network"), default="hd", required=True
    )


#: libvirt reads how long the firmware asks only where it does.
ASKED: Final = When("enable", ("yes",))


@element("bootmenu", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Bootmenu:
    """<bootmenu>: whether the firmware asks."""

    enable: bool | None = attribute("@enable", read=yes_no)
    timeout: int | None = attribute("@timeout", read=uint, when=ASKED)  # milliseconds


@element("bios", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Bios:
    """<bios>: SeaBIOS's own settings."""

    useserial: bool | None = attribute("@useserial", read=yes_no)
    reboot_timeout: int | None = attribute(
        "@rebootTimeout", read=int_signed
    )  # milliseconds; -1: never


@element("os")
@dataclass(slots=True, kw_only=True)
class Os:
    """<os>."""

    firmware: str | None = attribute(
        "@firmware",
        read=one_of("bios", "efi", unknown="unknown firmware value {}", kind="xml"),
        empty_is_absent=True,
    )
    type: OsType = child("type", OsType)
    firmware_features: list[FirmwareFeature] = children("firmware/feature", FirmwareFeature)
    init: str | None = text("init")
    init_args: list[str] = texts("initarg")
    init_variables: list[InitVariable] = children("initenv", InitVariable)
    init_dir: str | None = text("initdir")
    init_user: str | None = text("inituser")
    init_group: str | None = text("initgroup")
    loader: Loader | None = child("loader", Loader)
    nvram: Nvram | None = child("nvram", Nvram)
    kernel: str | None = text("kernel", omit="")
    initrd: str | None = text("initrd", omit="")
    cmdline: str | None = text("cmdline", omit="")
    dtb: str | None = text("dtb", omit="")
    root: str | None = text("root")
    slic: str | None = text("acpi/table", omit="")
    slic_type: str | None = attribute("acpi/table/@type", read=one_of("slic"))
    boot_devices: list[Boot] = children("boot", Boot)
    bootmenu: Bootmenu | None = child("bootmenu", Bootmenu)
    bios: Bios | None = child("bios", Bios)
    smbios_mode: str | None = attribute(
        "smbios/@mode",
        read=one_of("emulate", "host", "sysinfo", unknown="unknown smbios mode '{}'"),
        empty_is_absent=True,
    )

    def after_read(self) -> None:
        """Keep one of each property of the firmware: the last that the document has."""
        last = {feature.name: feature for feature in self.firmware_features}
        self.firmware_features = list(last.values())


@element("entry")
@dataclass(slots=True, kw_only=True)
class Entry:
    """One value of an SMBIOS block or of fw_cfg."""

    name: str | None = attribute("@name")
    file: str | None = attribute("@file")
    value: str | None = text(".", omit="")


@element("bios")
@dataclass(slots=True, kw_only=True)
class Block:
    """An SMBIOS block."""

    entries: list[Entry] = children("entry", Entry)


#: The entries of each SMBIOS block, in libvirt's order; others are dropped.
ENTRIES: Final = {
    "bios": ("vendor", "version", "date", "release"),
    "system": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "baseBoard": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "chassis": ("manufacturer", "version", "serial", "asset", "sku"),
}


def _known(block: Block, name: str) -> Block | None:
    """Keep the entries that a block has; None: nothing is left.

    Source: libvirt 9.0 virSysinfoParseXML: the first entry of a name counts.
    """
    kept = []
    for known in ENTRIES[name]:
        first = next((entry for entry in block.entries if entry.name == known), None)
        if first is not None and first.value:
            kept.append(replace(first, file=None))
    return Block(entries=kept) if kept else None


def _read_sysinfo_uuid(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError:
        detail = "malformed <sysinfo> uuid element"
        raise ConfError("xml_detail", detail, "sysinfo/system/entry") from None


def _check_firmware_entry(entry: Entry) -> None:
    """Check what fw_cfg is given; a value is text, or what a file holds."""
    path = "sysinfo/entry"
    if entry.name is None:
        raise ConfError("xml", "Firmware entry is missing 'name' attribute", path)
    if not (entry.value or "").strip() and not entry.file:
        detail = "Firmware entry must have either value or 'file' attribute"
        raise ConfError("xml", detail, path)


@element("sysinfo")
@dataclass(slots=True, kw_only=True)
class Sysinfo:
    """<sysinfo>: SMBIOS blocks, or files for fw_cfg."""

    type: str = attribute("@type", read=one_of("smbios", "fwcfg"), default="smbios", required=True)
    bios: Block | None = child("bios", Block)
    system: Block | None = child("system", Block)
    base_boards: list[Block] = children("baseBoard", Block)
    chassis: Block | None = child("chassis", Block)
    oem_strings: Block | None = child("oemStrings", Block)
    entries: list[Entry] = children("entry", Entry)

    def after_read(self) -> None:
        """Keep the entries that libvirt knows, in its order.

        Raises:
            ConfError: "xml", "xml_detail": an entry that firmware cannot have.
        """
        if self.type != "smbios":
            for entry in self.entries:
                _check_firmware_entry(entry)
            return
        self.bios = _known(self.bios, "bios") if self.bios else None
        self.system = _known(self.system, "system") if self.system else None
        for entry in self.system.entries if self.system else ():
            if entry.name == "uuid":
                entry.value = _read_sysinfo_uuid(entry.value or "")
        self.chassis = _known(self.chassis, "chassis") if self.chassis else None
        boards = [_known(board, "baseBoard") for board in self.base_boards]
        self.base_boards = [board for board in boards if board is not None]
