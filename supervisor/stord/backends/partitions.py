"""parted command lines and output. Pure.

Owns: argument lists, parsing of partition tables, the place of a new partition.
May not touch: devices.
Source: parted(8); libvirt 9.0's behaviour for pools of type disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.storage import Volume
from conf.types.size import MIB
from rpc.errors import ErrorCode, ErrorDomain, VirError

PARTED_LABELS: Final = {"dos": "msdos"}  # parted's label of libvirt's format
LIBVIRT_LABELS: Final = {"msdos": "dos"}
MAX_PRIMARY: Final = 4  # of a dos table, the extended partition included
FIRST_LOGICAL: Final = 5
#: parted's FS-TYPE of libvirt's partition formats; it sets the partition's type code.
FILESYSTEM_TYPES: Final = {
    "linux-swap": "linux-swap",
    "fat16": "fat16",
    "fat32": "fat32",
    "linux": "ext2",
}
FLAGS: Final = {"linux-lvm": "lvm", "linux-raid": "raid"}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition, or free space; bytes, the end is exclusive."""

    number: int  # 0: free
    start: int
    end: int
    content: str = ""

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """A partition table."""

    label: str  # libvirt's format: "dos", "gpt" …
    size: int
    partitions: tuple[Partition, ...]
    free: tuple[Partition, ...]


def plan_table(device: str) -> list[str]:
    """Print a disk's partition table and its free space."""
    return ["parted", "--script", "--machine", device, "unit", "B", "print", "free"]


def plan_label(device: str, label: str) -> list[str]:
    """Create an empty partition table; the disk's data is lost."""
    return ["parted", "--script", device, "mklabel", PARTED_LABELS.get(label, label)]


def plan_remove(device: str, number: int) -> list[str]:
    """Remove a partition."""
    return ["parted", "--script", device, "rm", str(number)]


def plan_create(device: str, table: PartitionTable, definition: Volume) -> list[list[str]]:
    """Create a partition in the smallest free space that fits.

    Raises:
        VirError: INTERNAL_ERROR: no free space fits, or the table is full.
    """
    size = -(-(definition.capacity or 0) // MIB) * MIB
    volume_format = definition.target.format or "none"
    kind, within = partition_type(table, volume_format)
    spaces = []
    for space in table.free:
        start = -(-space.start // MIB) * MIB
        if kind == "logical":
            start += MIB  # its extended boot record precedes it
        if start + size <= space.end and (within is None or is_inside(space, within)):
            spaces.append((space.size, start))
    if not spaces:
        largest = max((space.size for space in table.free), default=0)
        detail = f"no large enough free extent: {size} bytes requested, the largest has {largest}"
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


def partition_type(table: PartitionTable, volume_format: str) -> tuple[str, Partition | None]:
    """Return parted's PART-TYPE of a new partition, and the extended one that contains it.

    Raises:
        VirError: INTERNAL_ERROR: the table is full; OPERATION_INVALID for a second extended
            partition, or one outside of a dos table.
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


def next_number(table: PartitionTable, kind: str) -> int:
    """Return the number that the kernel gives the next partition."""
    taken = {part.number for part in table.partitions}
    first = FIRST_LOGICAL if kind == "logical" else 1
    return next(number for number in range(first, first + 256) if number not in taken)


def is_inside(space: Partition, whole: Partition) -> bool:
    """Return whether a space is inside a partition."""
    return whole.start <= space.start and space.end <= whole.end


def read_table(text: str) -> PartitionTable:
    """Parse parted's machine-readable output.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    lines = [line.rstrip(";").split(":") for line in text.splitlines() if line.endswith(";")]
    if len(lines) < 2 or lines[0] != ["BYT"] or len(lines[1]) < 6:
        raise unexpected_output(text)
    # Fields are counted from the start: the disk's model, which is last, may contain colons.
    size, label = parse_bytes(lines[1][1]), lines[1][5]
    parts = [parse_partition(line) for line in lines[2:]]
    taken = [part for part in parts if part.number]
    free = tuple(part for part in parts if not part.number)
    if label == "msdos":
        within = [*free, *(part for part in taken if part.number >= FIRST_LOGICAL)]
        taken = [as_extended(part, within) for part in taken]
    return PartitionTable(LIBVIRT_LABELS.get(label, label), size, tuple(taken), free)


def parse_partition(fields: list[str]) -> Partition:
    """Parse a row."""
    if len(fields) < 5:
        raise unexpected_output(":".join(fields))
    start, end = parse_bytes(fields[1]), parse_bytes(fields[2]) + 1
    if fields[4] == "free":
        return Partition(0, start, end)
    return Partition(parse_bytes(fields[0]), start, end, fields[4])


def as_extended(partition: Partition, nested: list[Partition]) -> Partition:
    """Mark a primary partition that contains free space or logical partitions as extended.

    parted's machine-readable output does not show the type.
    """
    inside = any(partition.start <= other.start < partition.end for other in nested)
    if partition.number <= MAX_PRIMARY and inside:
        return Partition(partition.number, partition.start, partition.end, "extended")
    return partition


def parse_bytes(text: str) -> int:
    """Parse a size such as "1048576B".

    Raises:
        VirError: INTERNAL_ERROR.
    """
    digits = text.removesuffix("B")
    if not digits.isdigit():
        raise unexpected_output(text)
    return int(digits)


def unexpected_output(output: str) -> VirError:
    """INTERNAL_ERROR: parted's output has an unexpected form."""
    detail = f"cannot parse parted's output ({output[:200]})"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
