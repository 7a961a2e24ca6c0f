"""The programs that pack and unpack a stream (qemu.conf: save_image_format, dump_image_format).

Owns: their processes. May touch: the descriptors that are handed to them.
Source: libvirt 9.0's command lines: `-c`, for xz `-c -3`; `-dc`, for lzop `-dc --ignore-warn`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression
from supervisor.runtime.subprocesses import ENVIRONMENT, SEARCH_PATH

MAX_OUTPUT: Final = 1000  # characters of a program's message in ours


@dataclass(frozen=True, slots=True)
class Packing:
    """How a stream is packed."""

    compression: Compression
    program: str  # "": it is not


NOT_PACKED: Final = Packing(Compression.RAW, "")


class Packer:
    """A running program between two pipes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    async def wait(self) -> None:
        """Wait until it has packed or unpacked everything.

        Raises:
            VirError: OPERATION_FAILED: it failed, and why.
        """
        _, errors = await self._process.communicate()
        if self._process.returncode != 0:
            text = errors.decode(errors="replace").strip()[:MAX_OUTPUT]
            detail = f"{self._name} failed with status {self._process.returncode}: {text}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)

    async def kill(self) -> None:
        """End it; what it has written is of no use."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.communicate()


def find_packing(compression: Compression, setting: str) -> Packing:
    """Find the program of a format.

    Args:
        compression: the format.
        setting: "save" or "dump", for the error.

    Raises:
        VirError: OPERATION_FAILED: the host does not have it.
    """
    if compression is Compression.RAW:
        return NOT_PACKED
    program = shutil.which(compression.program, path=SEARCH_PATH)
    if program is None:
        detail = (
            f"Compression program for {setting} image format in configuration file isn't available"
        )
        raise VirError(
            ErrorCode.OPERATION_FAILED,
            f"{detail}: install '{compression.program}'",
            ErrorDomain.QEMU,
        )
    return Packing(compression, program)


async def pack(packing: Packing, source: int, target: int) -> Packer:
    """Start to pack what comes from a pipe."""
    level = ("-3",) if packing.compression is Compression.XZ else ()
    return await _start((packing.program, "-c", *level), source, target)


async def unpack(compression: Compression, source: int, target: int) -> Packer:
    """Start to unpack a file from its position on.

    Raises:
        VirError: OPERATION_FAILED: the host does not have the program.
    """
    program = shutil.which(compression.program, path=SEARCH_PATH)
    if program is None:
        detail = f"the image is compressed with '{compression.program}': install it to restore it"
        raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.QEMU)
    ignore = ("--ignore-warn",) if compression is Compression.LZOP else ()
    return await _start((program, "-dc", *ignore), source, target)


async def _start(argv: tuple[str, ...], source: int, target: int) -> Packer:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=source,
            stdout=target,
            stderr=asyncio.subprocess.PIPE,
            env=dict(ENVIRONMENT),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        detail = f"cannot execute binary {argv[0]}: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU) from error
    return Packer(argv[0], process)
