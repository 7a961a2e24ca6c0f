"""The order of a domain's disks: by target name within a bus (libvirt: virDomainDiskInsert).

Owns: that order. It is the order in the XML, of PCI addresses, and of booting: <boot dev='hd'/>
boots the first disk, wherever it is in the XML.
May touch: the lists it is given.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.disk import Disk

#: Prefixes of disk names (virDiskNameParse).
PREFIXES: Final = ("fd", "hd", "vd", "sd", "xvd", "ubd")


def disk_index(name: str) -> int:
    """Return the number of a target name: "sda" is 0, "sdaa" 26; -1 for a name of another form."""
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
    if prefix is None:
        return -1
    # A partition's number does not count: "hda1" is a name of the first disk.
    letters = name.removeprefix(prefix).rstrip("0123456789")
    if not (letters.isascii() and letters.isalpha() and letters.islower()):
        return -1
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def insert_disk(disks: list[Disk], disk: Disk) -> None:
    """Insert a disk before the first of its bus with a later name, else after its last."""
    index = disk_index(disk.target.dev)
    position = None
    for number in reversed(range(len(disks))):
        if disks[number].target.bus != disk.target.bus:
            continue
        if disk_index(disks[number].target.dev) > index:
            position = number
        elif position is None:
            position = number + 1
    disks.insert(len(disks) if position is None else position, disk)


def order_disks(disks: list[Disk]) -> None:
    """Sort the disks into libvirt's order, in place."""
    buses: dict[str | None, int] = {}
    for disk in disks:
        buses.setdefault(disk.target.bus, len(buses))
    # What `insert_disk` makes of them one after another; a document may have thousands.
    disks.sort(key=lambda disk: (buses[disk.target.bus], disk_index(disk.target.dev)))
