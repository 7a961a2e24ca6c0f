"""Records of attached interfaces on tmpfs: they outlive netd, not a boot.

Owns: the files of `run/libvirt/network/taps`, one a device. May not touch: the devices.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from supervisor.runtime.atomic_file import write_file

NAME: Final = re.compile(r"[^/\0\s]{1,15}")
GENERATED: Final = re.compile(r"(vnet|macvtap|macvlan)(\d{1,9})")

log = logging.getLogger(__name__)


class PortRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attached interface."""

    device: str
    kind: str  # "tap", "macvtap"; of a container "veth", or "macvlan", which is not on the host
    domain: str  # the guest's name
    uuid: str  # the guest's, as text
    mac: str
    interface: str  # the live <interface>
    network: str = ""  # the network's UUID as text; "": none
    port: str = ""  # the port's UUID as text
    bridge: str = ""  # the bridge that a tap is a port of


class PortRecords:
    """All attached interfaces."""

    def __init__(self, folder: Path) -> None:
        """Load the records.

        Raises:
            OSError: the folder cannot be made.
        """
        self._folder = folder
        self._by_device: dict[str, PortRecord] = {}
        self._last: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for record in _load(folder):
            self._index(record)

    def __iter__(self) -> Iterator[PortRecord]:
        """Iterate over a copy of all records."""
        return iter(list(self._by_device.values()))

    def get(self, device: str) -> PortRecord | None:
        """Return the record of a device."""
        return self._by_device.get(device)

    def for_domain(self, uuid: str) -> list[PortRecord]:
        """Return the records of a domain."""
        return [record for record in self._by_device.values() if record.uuid == uuid]

    def save(self, record: PortRecord) -> None:
        """Store a record, on disk first.

        Raises:
            OSError: it is not remembered.
        """
        write_file(self._path(record.device), msgspec.json.encode(record), durable=False)
        self._index(record)

    def remove(self, device: str) -> None:
        """Remove a record.

        Raises:
            OSError: it comes back after a restart.
        """
        self._path(device).unlink(missing_ok=True)
        self._by_device.pop(device, None)

    def next_name(self, prefix: str) -> str:
        """Generate a device name; numbers are not reused until the name gets too long."""
        number = self._last.get(prefix, -1) + 1
        if len(f"{prefix}{number}") > 15:
            number = 0
        self._last[prefix] = number
        return f"{prefix}{number}"

    def _index(self, record: PortRecord) -> None:
        self._by_device[record.device] = record
        generated = GENERATED.fullmatch(record.device)
        if generated:
            prefix, number = generated[1], int(generated[2])
            self._last[prefix] = max(self._last.get(prefix, -1), number)

    def _path(self, device: str) -> Path:
        return self._folder / f"{device}.json"


def _load(folder: Path) -> Iterator[PortRecord]:
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".json") or file.startswith("."):
            continue
        try:
            yield msgspec.json.decode((folder / file).read_bytes(), type=PortRecord)
        except (OSError, msgspec.MsgspecError) as error:
            log.error("%s is left out: %s", folder / file, error)
