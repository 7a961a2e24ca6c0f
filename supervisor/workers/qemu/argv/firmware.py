"""Firmware: flash chips, a BIOS file, SMBIOS and fw_cfg.

Owns: how <loader>, <nvram>, <smbios> and <sysinfo> become options.
May touch: values only; the NVRAM file is made by the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conf.domain.os import Block, Nvram
from conf.types.size import MIB, to_bytes
from supervisor.workers.qemu.argv.launch_inputs import Context, Options
from supervisor.workers.qemu.argv.syntax import Option, comma, json_of, options_of


def flash_nodes(context: Context) -> Options:
    """Build the block nodes of the flash chips."""
    loader = context.domain.os.loader
    if loader is None or loader.type != "pflash" or not loader.path:
        return
    yield from _flash(0, loader.path, read_only=bool(loader.readonly))
    nvram = context.domain.os.nvram
    path = nvram_path(nvram) if nvram else None
    if path is not None:
        yield from _flash(1, path, read_only=False)


def nvram_path(nvram: Nvram) -> str | None:
    """Locate the guest's own firmware variables."""
    return (nvram.path or "").strip() or (nvram.source.file if nvram.source else None)


def _flash(number: int, path: str, *, read_only: bool) -> Options:
    name = f"libvirt-pflash{number}"
    yield (
        "-blockdev",
        json_of(
            {
                "driver": "file",
                "filename": path,
                "node-name": f"{name}-storage",
                "auto-read-only": True,
                "discard": "unmap",
            }
        ),
    )
    yield (
        "-blockdev",
        json_of(
            {
                "node-name": f"{name}-format",
                "read-only": read_only,
                "driver": "raw",
                "file": f"{name}-storage",
            }
        ),
    )


def machine_parts(context: Context) -> list[str]:
    """Write the properties of -machine that name the pflash nodes."""
    return [
        f"pflash{number}=libvirt-pflash{number}-format"
        for number in range(sum(1 for _ in flash_nodes(context)) // 2)
    ]


def security(context: Context) -> Options:
    """Restrict writes of the flash to system management mode, and size that mode's memory."""
    loader = context.domain.os.loader
    if loader is not None and loader.secure:
        yield "-global", "driver=cfi.pflash01,property=secure,value=on"


def bios(context: Context) -> Options:
    """Build -bios."""
    loader = context.domain.os.loader
    if loader is not None and loader.type != "pflash" and loader.path:
        yield "-bios", loader.path


def management_memory(context: Context) -> Options:
    """Return the size of the memory of system management mode (TSEG) on a Q35."""
    features = context.domain.features
    tseg = features.smm.tseg if features is not None and features.smm is not None else None
    if tseg is not None:
        yield "-global", f"mch.extended-tseg-mbytes={to_bytes(tseg.amount, tseg.unit) // MIB}"


SYSTEM: Final = {
    "manufacturer": "manufacturer", "product": "product", "version": "version",
    "serial": "serial", "uuid": "uuid", "sku": "sku", "family": "family",
}  # fmt: skip
BIOS: Final = {"vendor": "vendor", "version": "version", "date": "date", "release": "release"}
BOARD: Final = {
    "manufacturer": "manufacturer", "product": "product", "version": "version",
    "serial": "serial", "asset": "asset", "location": "location",
}  # fmt: skip
CHASSIS: Final = {
    "manufacturer": "manufacturer", "version": "version", "serial": "serial", "asset": "asset",
    "sku": "sku",
}  # fmt: skip


def _table(number: int, names: Mapping[str, str], block: Block | None) -> Options:
    entries = {entry.name: entry.value or "" for entry in block.entries} if block else {}
    members: dict[str, Option] = {
        text: entries[name] for name, text in names.items() if name in entries
    }
    if members:
        yield "-smbios", options_of((f"type={number}",), members)


def smbios(context: Context) -> Options:
    """Build the SMBIOS tables that <sysinfo type='smbios'> fills."""
    if context.domain.os.smbios_mode != "sysinfo":
        return
    for info in context.domain.sysinfos:
        if info.type != "smbios":
            continue
        yield from _table(0, BIOS, info.bios)
        yield from _table(1, SYSTEM, info.system)
        for board in info.base_boards:
            yield from _table(2, BOARD, board)
        yield from _table(3, CHASSIS, info.chassis)
        if info.oem_strings is not None:
            texts = (entry.value or "" for entry in info.oem_strings.entries)
            values = "".join(f",value={comma(text)}" for text in texts)
            yield "-smbios", f"type=11{values}"


def fw_cfg(context: Context) -> Options:
    """Build -fw_cfg: values and files that the firmware finds by name."""
    for info in context.domain.sysinfos:
        if info.type != "fwcfg":
            continue
        for entry in info.entries:
            if entry.file is not None:
                yield "-fw_cfg", options_of((), {"name": entry.name, "file": entry.file})
            else:
                yield "-fw_cfg", options_of((), {"name": entry.name, "string": entry.value})
