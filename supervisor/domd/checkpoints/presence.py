"""Finds out whether QEMU has made, or deleted, the bitmaps of a checkpoint.

Owns: where to look: in the guest, or in the images of a domain that is off.
May touch: guests, through their workers; images, through qemu-img, to read.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from conf.checkpoint.model import Checkpoint
from conf.domain.devices.disk_chain import layers
from rpc.errors import ErrorCode
from supervisor.domd.domain import DomainObject
from supervisor.domd.workers import Workers
from supervisor.messages.checkpoint import FindCheckpoint
from supervisor.runtime.subprocesses import run

INFO_S: Final = 20.0

log = logging.getLogger(__name__)


class ImageBitmap(msgspec.Struct, frozen=True):
    """A bitmap in a header."""

    name: str = ""


class Qcow2Data(msgspec.Struct, frozen=True):
    """What qemu-img says of a qcow2 image alone."""

    bitmaps: list[ImageBitmap] = []


class FormatSpecific(msgspec.Struct, frozen=True):
    """What qemu-img says of an image's format."""

    data: Qcow2Data = Qcow2Data()


class QemuImgInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """The reply of `qemu-img info`."""

    format_specific: FormatSpecific = FormatSpecific()


class BitmapPresence:
    """Looks for the bitmaps of one driver's domains."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def is_made(self, domain: DomainObject, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint's bitmaps are there; it has all of them, or none.

        Raises:
            VirError: OPERATION_TIMEOUT, INTERNAL_ERROR: that cannot be known now.
        """
        if domain.is_active:
            request = FindCheckpoint(name=checkpoint.name, disks=checkpoint.noted)
            found = await self._workers.call_until_done(domain, request)
            if found is not None:
                return any(state.is_present for state in found)
        targets = checkpoint.noted
        for disk in domain.current.domain.devices.disks:
            path = layers(disk)[0].path if layers(disk) else None
            if disk.target.dev in targets and path:
                return checkpoint.name in await self._bitmaps(domain, path)
        return False

    @staticmethod
    async def _bitmaps(domain: DomainObject, path: str) -> list[str]:
        argv = ["qemu-img", "info", "-U", "-f", "qcow2", "--output=json", path]
        try:
            program = await run(argv, deadline_s=INFO_S)
        except TimeoutError as error:
            detail = f"bitmaps of '{path}' cannot be read in {INFO_S:.0f} s"
            raise domain.errors.operation_timeout(detail) from error
        except OSError as error:
            raise domain.errors.system_error("unable to run qemu-img", error) from error
        if program.code:
            # An image that is gone, or that is no qcow2, has no bitmap.
            log.warning("%s: %s", domain.name, program.output_text)
            return []
        try:
            info = msgspec.json.decode(program.output, type=QemuImgInfo)
        except msgspec.DecodeError as error:
            detail = f"qemu-img says nothing of '{path}' that can be read: {error}"
            raise domain.errors.error(ErrorCode.INTERNAL_ERROR, detail) from error
        return [bitmap.name for bitmap in info.format_specific.data.bitmaps]
