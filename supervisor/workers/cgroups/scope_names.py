"""The names that a guest has for systemd: its machine's, its scope's, its slice's.

Owns: those names, and the group below a scope. Pure.
Source: systemd.unit(5), systemd.slice(5); libvirt 9.0, virSystemdMakeScopeName,
virDomainGenerateMachineName.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MACHINE_NAME: Final = 64  # characters at most
MACHINE: Final = "/machine"  # libvirt's default partition, which the live XML names
#: What systemd leaves as it is in a unit's name; "-" separates the parts of a slice's.
PLAIN: Final = frozenset(string.ascii_letters + string.digits + ":_.")
SCOPE: Final = ".scope"
#: The group below the scope that has the guest and its limits. systemd owns the scope's own files.
INNER: Final = "libvirt"
#: systemd keeps weights in its own terms: BFQ's 100 to 1000 are its 100 to 10000.
DEFAULT_WEIGHT: Final = 100
BFQ_STEP: Final = 11


@dataclass(frozen=True, slots=True)
class MachineScope:
    """A guest as a unit of systemd's and a machine of systemd-machined's."""

    machine: str  # its name for machined: qemu-1-web
    unit: str  # machine-qemu\x2d1\x2dweb.scope
    slice: str  # machine.slice
    service: str  # libvirt-qemu, libvirt-lxc
    kind: str  # machined's class: vm, container
    uuid: str

    @property
    def description(self) -> str:
        """What `systemctl status` says of it, as machined describes it."""
        return f"{'Container' if self.kind == 'container' else 'Virtual Machine'} {self.machine}"

    @property
    def group(self) -> str:
        """The guest's group, below a hierarchy's root, unless systemd's is elsewhere."""
        return f"{slice_path(self.slice)}/{self.unit}/{INNER}"


def machine_name(driver: str, name: str, identifier: int) -> str:
    """Name a guest as libvirt does for systemd: what a host's name may have of it.

    Source: libvirt 9.0, virDomainGenerateMachineName.
    """
    text = f"{driver}-{identifier}-"
    previous = ""
    for character in name:
        if len(text) >= MACHINE_NAME:
            break
        if character in "-.":
            text += character if previous not in ("-", ".") else ""
        elif character.isascii() and character.isalnum():
            text += character
        previous = character
    return text.rstrip("-.")


def machine_scope(
    driver: str, kind: str, name: str, identifier: int, uuid: str, partition: str = ""
) -> MachineScope:
    """Name a guest's scope and slice.

    Args:
        driver: qemu or lxc.
        kind: machined's class: vm or container.
        name: the domain's.
        identifier: a number that no other guest of the host has now.
        uuid: the domain's.
        partition: of <resource>; "": libvirt's default.
    """
    machine = machine_name(driver, name, identifier)
    return MachineScope(
        machine=machine,
        unit=f"machine-{escape(machine)}{SCOPE}",
        slice=slice_name(partition or MACHINE),
        service=f"libvirt-{driver}",
        kind=kind,
        uuid=uuid,
    )


def escape(text: str) -> str:
    r"""Escape a part of a unit's name, each byte as \xNN; a dot may not begin it."""
    return "".join(
        chr(byte) if chr(byte) in PLAIN and (place or byte != ord(".")) else f"\\x{byte:02x}"
        for place, byte in enumerate(text.encode())
    )


def slice_name(partition: str) -> str:
    """Name the slice of a partition: /machine/prod is machine-prod.slice."""
    parts = [escape(part) for part in partition.split("/") if part]
    return f"{'-'.join(parts) or '-'}.slice"


def slice_path(name: str) -> str:
    """Locate a slice below the root: machine-prod.slice is in machine.slice."""
    parts = name.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(parts[:count])}.slice" for count in range(1, len(parts) + 1))


@lru_cache(maxsize=4)  # a worker has one group, and asks at each change of its limits
def unit_of(group: str) -> str:
    """Return the scope of systemd's that a guest's group is in; "": it is in none."""
    parts = group.split("/")
    return next((part for part in parts[-2:] if part.endswith(SCOPE)), "")


def scope_path(group: str) -> str:
    """Return the path of the scope that a guest's group is in; "": it is in none."""
    unit = unit_of(group)
    return f"{group.partition(unit)[0]}{unit}" if unit else ""


def weight_property(file: str, value: int) -> tuple[str, int]:
    """Return by which property of a unit systemd keeps a weight, and its value there.

    Args:
        file: the kernel's: cpu.weight, cpu.shares, io.weight, blkio.bfq.weight, …
        value: of the file.
    """
    if file.startswith("cpu."):
        return ("CPUShares" if file == "cpu.shares" else "CPUWeight"), value
    if file.startswith("blkio."):
        return "BlockIOWeight", max(10, min(value, 1000))
    if file == "io.bfq.weight" and value > DEFAULT_WEIGHT:
        return "IOWeight", DEFAULT_WEIGHT + (value - DEFAULT_WEIGHT) * BFQ_STEP
    return "IOWeight", value
