"""The files of new overlays: made, given an empty image, and brought to the disk meanwhile.

Owns: them, until QEMU uses them. May touch: those that it has made, in a thread: a server may hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.new_qcow2 import NewQcow2
from supervisor.workers.qemu.block.new_files import NewFile, make_files, remove_file

FILES_S: Final = 30.0  # to make the files of all disks, to write them, to bring them to the disk

R = TypeVar("R")


class OverlayFiles:
    """The files that one snapshot makes."""

    def __init__(self) -> None:
        self._made: dict[str, NewFile] = {}
        self._writing: asyncio.Task[None] | None = None

    async def make(self, paths: Sequence[str]) -> None:
        """Make empty files; a path where there is a file already is left out.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_TIMEOUT; none is left.
        """
        self._made = await _bounded(asyncio.to_thread(make_files, paths), "made")

    def __contains__(self, path: str | None) -> bool:
        """Return whether a path's file was made now."""
        return path in self._made

    async def write(self, images: Mapping[str, NewQcow2]) -> None:
        """Write images to files that were made; on return QEMU can open them.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_TIMEOUT.
        """
        if not images:
            return
        loop = asyncio.get_running_loop()
        written = asyncio.Event()
        todo = [(self._made[path], image) for path, image in images.items()]

        def tell() -> None:
            loop.call_soon_threadsafe(written.set)

        self._writing = asyncio.create_task(asyncio.to_thread(_write, todo, tell))
        waiting = asyncio.create_task(written.wait())
        both = {self._writing, waiting}
        try:
            await _bounded(asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED), "written")
        finally:
            waiting.cancel()
        if self._writing.done():
            self._writing.result()

    async def wait_durable(self) -> None:
        """Wait until the images that were written survive a loss of power.

        Raises:
            VirError: SYSTEM_ERROR, OPERATION_TIMEOUT.
        """
        if self._writing is not None:
            await _bounded(asyncio.shield(self._writing), "brought to the disk")

    def close(self) -> None:
        """Close the files, once nothing writes to them."""
        if self._writing is not None and not self._writing.done():
            # Its descriptors are its own until then. A server that hangs holds up nobody.
            self._writing.add_done_callback(lambda _: self._close())
        else:
            self._close()

    def _close(self) -> None:
        for file in self._made.values():
            file.close()

    def remove(self) -> None:
        """Remove the files: nothing uses them."""
        for path in self._made:
            remove_file(path)


def _write(todo: Sequence[tuple[NewFile, NewQcow2]], written: Callable[[], None]) -> None:
    for file, image in todo:
        file.write(image)
    written()
    for file, _ in todo:
        file.sync()


async def _bounded(work: Awaitable[R], what: str) -> R:
    """Wait for files, but not for ever.

    Raises:
        VirError: OPERATION_TIMEOUT; what the work raises.
    """
    try:
        async with asyncio.timeout(FILES_S):
            return await work
    except TimeoutError:
        detail = f"the files of overlays are not {what} within {FILES_S:.0f} s; check their server"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.QEMU) from None
