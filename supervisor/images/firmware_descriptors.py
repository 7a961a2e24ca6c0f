"""QEMU's firmware descriptors: which firmware the host has, and for which machines.

Owns: their structs and reading them.
May touch: the descriptors' files, for reading.
May not touch: the firmware's own files.
Source: QEMU's docs/interop/firmware.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from supervisor.runtime import qemu_descriptors

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

    def runs_on(self, arch: str, machine: str) -> bool:
        """Return whether it is for a machine type, by the name without an alias."""
        return any(
            target.architecture == arch
            and any(fnmatchcase(machine, pattern) for pattern in target.machines)
            for target in self.targets
        )

    @property
    def file(self) -> str:
        """The firmware's own file; "" where <loader> of libvirt 9.0 cannot name it."""
        if self.mapping.device == "memory":
            return self.mapping.filename
        file = self.mapping.executable
        # A <loader> of libvirt 9.0 has no format: QEMU is given the file as raw.
        return file.filename if file is not None and file.format == "raw" else ""


def read_descriptors(directories: Iterable[Path]) -> list[Descriptor]:
    """Read the firmware descriptors, in order of their file names.

    Args:
        directories: a file replaces files of the same name in earlier directories; an empty file,
            or a link to /dev/null, hides them.
    """
    return qemu_descriptors.read_descriptors(directories, Descriptor)
