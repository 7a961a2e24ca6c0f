"""Secrets on disk.

Owns: the files under `etc/libvirt/secrets`: UUID.xml, and UUID.base64 with the value; all of them
are root's alone. Ephemeral secrets are never here.
May not touch: the meaning of the XML. No value is logged.
Source: libvirt 9.0's layout.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from supervisor.objects.definition_files import file_header
from supervisor.runtime.atomic_file import make_folder, remove_file, write_file
from supervisor.runtime.document_files import read_document, write_document

MAX_VALUE: Final = 65536  # bytes; the protocol carries no more
MODE: Final = 0o600

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret as it is on disk."""

    uuid: str
    xml: str
    value: bytes | None

    def __repr__(self) -> str:
        return f"StoredSecret({self.uuid})"


class SecretFiles:
    """The files of one daemon's secrets; every method blocks."""

    def __init__(self, folder: Path) -> None:
        """Use this folder; it is created when the first secret is saved."""
        self._folder = folder

    def load(self) -> list[StoredSecret]:
        """Read every secret; an unreadable file stays on disk and is logged.

        A value without a definition is left of an interrupted removal: it is removed.
        """
        uuids = set(self._uuids(".xml"))
        for uuid in set(self._uuids(".base64")) - uuids:
            log.info("the value of the undefined secret %s is removed", uuid)
            remove_file(self._value(uuid))
        return [stored for uuid in sorted(uuids) if (stored := self._read(uuid)) is not None]

    def save(self, uuid: str, xml: str) -> None:
        """Write a definition; on return it survives a loss of power.

        Raises:
            OSError: nothing has changed.
        """
        make_folder(self._folder, mode=0o700)
        if not self._document(uuid).exists():
            remove_file(self._value(uuid))  # of an earlier secret of that UUID
        write_document(
            self._document(uuid), file_header("secret", "secret-define") + xml, mode=MODE
        )

    def save_value(self, uuid: str, value: bytes) -> None:
        """Write a value; on return it survives a loss of power.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._value(uuid), base64.b64encode(value), mode=MODE)

    def remove(self, uuid: str) -> None:
        """Remove a secret: the XML first, so that no restart loads a secret without its value.

        Raises:
            OSError: it cannot be removed; a secret exists while its XML file does.
        """
        remove_file(self._document(uuid))
        remove_file(self._value(uuid))

    def _uuids(self, ending: str) -> Iterator[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in names:
            stem = name.removesuffix(ending)
            if stem != name and _is_uuid(stem):
                yield stem

    def _read(self, uuid: str) -> StoredSecret | None:
        try:
            xml = read_document(self._document(uuid))
        except (OSError, ValueError) as error:
            log.error("%s is left alone: %s", self._document(uuid), error)
            return None
        return StoredSecret(uuid, xml, self._read_value(uuid))

    def _read_value(self, uuid: str) -> bytes | None:
        try:
            with self._value(uuid).open("rb") as file:
                text = file.read(MAX_VALUE * 2)
            return base64.b64decode(text, validate=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("%s is left alone: %s", self._value(uuid), error)
        except binascii.Error:
            log.error("%s is left alone: it is no base64", self._value(uuid))
        return None

    def _document(self, uuid: str) -> Path:
        return self._folder / f"{uuid}.xml"

    def _value(self, uuid: str) -> Path:
        return self._folder / f"{uuid}.base64"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
