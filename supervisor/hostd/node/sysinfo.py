"""SMBIOS information of the host, as the kernel exports it.

Owns: reading /sys/class/dmi/id. May not touch: /dev/mem, programs.
Source: libvirt 9.0 virConnectGetSysinfo; formatdomain "SMBIOS System Information".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from supervisor.hostd.capabilities.xml_writer import Element, group, write

#: Block, its entries, and the kernel's file of each.
BLOCKS: Final = (
    (
        "bios",
        (
            ("vendor", "bios_vendor"),
            ("version", "bios_version"),
            ("date", "bios_date"),
            ("release", "bios_release"),
        ),
    ),
    (
        "system",
        (
            ("manufacturer", "sys_vendor"),
            ("product", "product_name"),
            ("version", "product_version"),
            ("serial", "product_serial"),
            ("uuid", "product_uuid"),
            ("sku", "product_sku"),
            ("family", "product_family"),
        ),
    ),
    (
        "baseBoard",
        (
            ("manufacturer", "board_vendor"),
            ("product", "board_name"),
            ("version", "board_version"),
            ("serial", "board_serial"),
            ("asset", "board_asset_tag"),
        ),
    ),
    (
        "chassis",
        (
            ("manufacturer", "chassis_vendor"),
            ("version", "chassis_version"),
            ("serial", "chassis_serial"),
            ("asset", "chassis_asset_tag"),
        ),
    ),
)


def write_sysinfo(dmi: Path = Path("/sys/class/dmi/id")) -> str | None:
    """Return the <sysinfo> XML; None on a host without SMBIOS."""
    if not dmi.is_dir():
        return None
    blocks = [block(dmi, name, entries) for name, entries in BLOCKS]
    return write(group("sysinfo", *blocks, type="smbios"))


def block(dmi: Path, name: str, entries: tuple[tuple[str, str], ...]) -> Element | None:
    """Build a block of the entries that are present and readable."""
    elements: list[Element | None] = []
    for entry, file in entries:
        try:
            value = (dmi / file).read_text(errors="replace").strip()
        except OSError:
            continue
        if value:
            elements.append(("entry", {"name": entry}, value))
    return group(name, *elements) if elements else None
