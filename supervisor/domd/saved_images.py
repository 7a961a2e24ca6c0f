"""SavedImages: save images on disk, as domd reads and edits them.

Owns: opening them, and how their faults become clients' errors.
May touch: the files that clients name, in threads. May not touch: guests.
Source: libvirt 9.0, qemuSaveImageOpen.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from ipc import Descriptor
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.images.save_image import (
    HEADER_BYTES,
    Compression,
    IncompleteImage,
    SaveData,
    SaveImageError,
    read_data,
    read_header,
    with_xml,
)


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image that is open at the beginning of its stream."""

    path: str
    data: SaveData
    descriptor: Descriptor


class SavedImages:
    """Save images."""

    def __init__(self, errors: ServiceErrors) -> None:
        self._errors = errors

    async def read(self, path: str) -> SaveData:
        """Read what precedes an image's stream.

        Raises:
            VirError: as `open`.
        """
        image = await self.open(path)
        image.descriptor.close()
        return image.data

    async def open(self, path: str) -> OpenImage:
        """Open an image to restore it; the caller closes its descriptor.

        Raises:
            VirError: SYSTEM_ERROR: it cannot be opened; OPERATION_FAILED: it is no whole image.
        """
        try:
            return await asyncio.to_thread(_open, path)
        except SaveImageError as error:
            raise self._errors.operation_failed(str(error)) from error
        except OSError as error:
            raise self._errors.system_error(f"Failed to open file '{path}'", error) from error

    async def open_unless_incomplete(self, path: Path) -> OpenImage | None:
        """Open an image, or remove it if it was never finished; None: it was not.

        Raises:
            VirError: as `open`; SYSTEM_ERROR: it cannot be removed.
        """
        try:
            return await asyncio.to_thread(_open, str(path))
        except IncompleteImage:
            try:
                await asyncio.to_thread(path.unlink)
            except OSError as error:
                detail = f"cannot remove corrupt file: {path}"
                raise self._errors.system_error(detail, error) from error
            return None
        except SaveImageError as error:
            raise self._errors.operation_failed(str(error)) from error
        except OSError as error:
            raise self._errors.system_error(f"Failed to open file '{path}'", error) from error

    async def edit(self, path: str, xml: str, *, was_running: bool) -> None:
        """Replace an image's XML, and whether its guest is to run.

        Raises:
            VirError: as `open`; OPERATION_FAILED: the XML is too long for its place.
        """
        try:
            await asyncio.to_thread(_edit, path, xml, was_running=was_running)
        except SaveImageError as error:
            raise self._errors.operation_failed(str(error)) from error
        except OSError as error:
            detail = f"failed to write header to domain save file '{path}'"
            raise self._errors.system_error(detail, error) from error

    def compression(self, setting: str, name: str) -> Compression:
        """Read save_image_format or dump_image_format of qemu.conf.

        Args:
            setting: its value.
            name: "save" or "dump", for the error.

        Raises:
            VirError: OPERATION_FAILED: there is no such format.
        """
        try:
            return Compression[setting.upper()]
        except KeyError:
            detail = f"Invalid {name} image format specified in configuration file: '{setting}'"
            raise self._errors.operation_failed(detail) from None


def _open(path: str, flags: int = os.O_RDONLY) -> OpenImage:
    # O_NONBLOCK: the open of a FIFO does not wait for its other end.
    descriptor = Descriptor(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
    fd = descriptor.fileno()
    try:
        os.set_blocking(fd, True)
        header = read_header(_read_all(fd, HEADER_BYTES))
        data = read_data(header, _read_all(fd, header.data_len))
    except BaseException:
        descriptor.close()
        raise
    return OpenImage(path, data, descriptor)


def _read_all(fd: int, count: int) -> bytes:
    """Read so many bytes, or all there are."""
    parts = []
    while count > 0 and (part := os.read(fd, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _edit(path: str, xml: str, *, was_running: bool) -> None:
    image = _open(path, os.O_RDWR)
    try:
        changed = with_xml(image.data, xml, was_running=was_running)
        fd = image.descriptor.fileno()
        # The header says how long XML and cookie are together, which stays: a write that is
        # interrupted leaves an image with an XML that is cut, and the stream untouched.
        left = memoryview(changed.encode(complete=True))
        at = 0
        while left:
            written = os.pwrite(fd, left, at)
            at, left = at + written, left[written:]
        os.fsync(fd)
    finally:
        image.descriptor.close()
