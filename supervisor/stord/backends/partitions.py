"""A disk's partition table: what parted is told, and what it prints. Pure.

Owns: argument lists, the reading of tables, where a new partition goes.
May not touch: devices.
Source: parted(8); libvirt 9.0's behaviour for pools of type disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.storage import Volume
from conf.types.size import MIB
from rpc.errors import ErrorCode, ErrorDomain, VirError

PARTED_LABELS: Final = {"dos": "msdos"}  # parted's words where they differ from the document's
LIBVIRT_LABELS: Final = {"msdos": "dos"}
MAX_PRIMARY: Final = 4  # of a dos table, the extended partition among them
FIRST_LOGICAL: Final = 5
#: parted's word for what a partition is to hold; the others it does not need to know.
FILESYSTEM_TYPES: Final = {
    "linux-swap": "linux-swap",
    "fat16": "fat16",
    "fat32": "fat32",
    "linux": "ext2",
}
FLAGS: Final = {"linux-lvm": "lvm", "linux-raid": "raid"}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition, or free space; bytes, the end not in it."""

    number: int  # 0: free
    start: int
    end: int
    content: str = ""

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Table:
    """What is on a disk."""

    label: str  # as documents say it: "dos", "gpt" …
    size: int
    partitions: tuple[Partition, ...]
    free: tuple[Partition, ...]


def plan_table(device: str) -> list[str]:
    """Ask for a disk's table."""
    return ["parted", "--script", "--machine", device, "unit", "B", "print", "free"]


def plan_label(device: str, label: str) -> list[str]:
    """Make a new, empty table; what was on the disk is lost."""
    return ["parted", "--script", device, "mklabel", PARTED_LABELS.get(label, label)]


def plan_remove(device: str, number: int) -> list[str]:
    """Remove a partition."""
    return ["parted", "--script", device, "rm", str(number)]


def plan_create(device: str, table: Table, definition: Volume) -> list[list[str]]:
    """Make a partition in the smallest space that it fits into.

    Raises:
        VirError: INTERNAL_ERROR: there is no such space; the table takes no more partitions.
    """
    size = -(-(definition.capacity or 0) // MIB) * MIB
    volume_format = definition.target.format or "none"
    kind, within = partition_type(table, volume_format)
    spaces = []
    for space in table.free:
        start = -(-space.start // MIB) * MIB
        if kind == "logical":
            start += MIB  # its own record stands before it
        if start + size <= space.end and (within is None or is_inside(space, within)):
            spaces.append((space.size, start))
    if not spaces:
        largest = max((space.size for space in table.free), default=0)
        detail = f"no large enough free extent: {size} bytes are wanted, {largest} are the most"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
    start = min(spaces)[1]
    argv = ["parted", "--script", device, "mkpart", kind]
    if volume_format in FILESYSTEM_TYPES and kind != "extended":
        argv.append(FILESYSTEM_TYPES[volume_format])
    commands = [[*argv, f"{start}B", f"{start + size - 1}B"]]
    if volume_format in FLAGS:
        number = next_number(table, kind)
        commands.append(
            ["parted", "--script", device, "set", str(number), FLAGS[volume_format], "on"]
        )
    return commands


def partition_type(table: Table, volume_format: str) -> tuple[str, Partition | None]:
    """What parted calls the new partition, and which one it must lie in.

    Raises:
        VirError: INTERNAL_ERROR: the table is full; OPERATION_INVALID for an extended partition
            where there can be none.
    """
    if table.label != "dos":
        if volume_format == "extended":
            detail = f"a table of type '{table.label}' has no extended partitions"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
        return "primary", None
    extended = next((part for part in table.partitions if part.content == "extended"), None)
    if volume_format == "extended":
        if extended is not None:
            detail = "extended partition already exists"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.STORAGE)
        return "extended", None
    if extended is not None:
        return "logical", extended
    if sum(part.number <= MAX_PRIMARY for part in table.partitions) >= MAX_PRIMARY:
        detail = "no extended partition found and no primary partition available"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
    return "primary", None


def next_number(table: Table, kind: str) -> int:
    """The number that the next partition gets."""
    taken = {part.number for part in table.partitions}
    first = FIRST_LOGICAL if kind == "logical" else 1
    return next(number for number in range(first, first + 256) if number not in taken)


def is_inside(space: Partition, whole: Partition) -> bool:
    """Whether a space lies in a partition."""
    return whole.start <= space.start and space.end <= whole.end


def read_table(text: str) -> Table:
    """Read what parted printed.

    Raises:
        VirError: INTERNAL_ERROR: it is no table.
    """
    lines = [line.rstrip(";").split(":") for line in text.splitlines() if line.endswith(";")]
    if len(lines) < 2 or lines[0] != ["BYT"] or len(lines[1]) < 6:
        raise unexpected_output(text)
    # The model's name may have colons; what stands before it, the kernel's name, has none.
    size, label = parse_bytes(lines[1][1]), lines[1][5]
    parts = [parse_partition(line) for line in lines[2:]]
    taken = [one for one in parts if one.number]
    free = tuple(one for one in parts if not one.number)
    if label == "msdos":
        within = [*free, *(one for one in taken if one.number >= FIRST_LOGICAL)]
        taken = [as_extended(one, within) for one in taken]
    return Table(LIBVIRT_LABELS.get(label, label), size, tuple(taken), free)


def parse_partition(fields: list[str]) -> Partition:
    """Read a line."""
    if len(fields) < 5:
        raise unexpected_output(":".join(fields))
    start, end = parse_bytes(fields[1]), parse_bytes(fields[2]) + 1
    if fields[4] == "free":
        return Partition(0, start, end)
    return Partition(parse_bytes(fields[0]), start, end, fields[4])


def as_extended(partition: Partition, nested: list[Partition]) -> Partition:
    """A primary partition that has free space or logical partitions in it is the extended one."""
    inside = any(partition.start <= other.start < partition.end for other in nested)
    if partition.number <= MAX_PRIMARY and inside:
        return Partition(partition.number, partition.start, partition.end, "extended")
    return partition


def parse_bytes(text: str) -> int:
    """A number of bytes.

    Raises:
        VirError: INTERNAL_ERROR: it is none.
    """
    digits = text.removesuffix("B")
    if not digits.isdigit():
        raise unexpected_output(text)
    return int(digits)


def unexpected_output(output: str) -> VirError:
    """INTERNAL_ERROR: parted said what it never says."""
    detail = f"parted's answer cannot be understood ({output[:200]})"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
