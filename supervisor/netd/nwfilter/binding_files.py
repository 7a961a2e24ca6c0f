"""Filter bindings on disk, and the addresses learned for them.

Owns: the files under run/libvirt/nwfilter-binding. May not touch: rules.
Source: libvirt 9.0's layout: TAP.xml is libvirt's; TAP.addresses is ours.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from supervisor.runtime.atomic_file import remove_file, write_file
from supervisor.runtime.document_files import read_document, write_document

log = logging.getLogger(__name__)


class LearnedAddresses(msgspec.Struct, frozen=True):
    """The addresses learned for a binding."""

    addresses: list[str]
    expires: float | None = None  # when the lease of the only one ends, by the host's clock


class BindingFiles:
    """The bindings of one daemon, on tmpfs; every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Iterator[tuple[str, str, LearnedAddresses]]:
        """Read each binding's tap, XML and learned addresses; unreadable files are logged."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.xml")):
            try:
                xml = read_document(path)
            except (OSError, ValueError) as error:
                log.warning("%s is passed over: %s", path, error)
                continue
            yield path.stem, xml, self._addresses(path.stem)

    def save(self, tap: str, xml: str) -> None:
        """Write a binding.

        Raises:
            OSError: nothing has changed.
        """
        write_document(self._folder / f"{tap}.xml", xml, durable=False)

    def save_addresses(self, tap: str, addresses: LearnedAddresses) -> None:
        """Write the learned addresses for the next netd.

        Raises:
            OSError: nothing has changed.
        """
        data = msgspec.json.encode(addresses)
        write_file(self._folder / f"{tap}.addresses", data, durable=False)

    def remove(self, tap: str) -> None:
        """Remove a binding and its learned addresses; missing files are no error.

        Raises:
            OSError: they cannot be removed.
        """
        remove_file(self._folder / f"{tap}.xml")
        remove_file(self._folder / f"{tap}.addresses")

    def _addresses(self, tap: str) -> LearnedAddresses:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            data = (self._folder / f"{tap}.addresses").read_bytes()
            return msgspec.json.decode(data, type=LearnedAddresses)
        return LearnedAddresses([])
