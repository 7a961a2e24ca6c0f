"""Screenshots, keys, NMI and display connections.

Owns: nothing. May touch: QEMU, by QMP; files in the domain's private directory.
Source: libvirt 9.0, virDomainScreenshot, virDomainSendKey, virDomainOpenGraphics.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from typing import Final

from conf.domain import Domain
from ipc import Descriptor
from rpc.enums import DomainOpenGraphicsFlags, KeycodeSet
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.bendable_files import open_plain_file
from supervisor.workers.qemu.guest import Guest, GuestProvider
from supervisor.workers.qemu.keycodes import to_qnum
from supervisor.workers.qemu.qmp.monitor import QmpError

PNG: Final = "image/png"
PPM: Final = "image/x-portable-pixmap"
MAX_KEYS: Final = 16


class DisplayAndInput:
    """Calls on the domain's displays and keyboard."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker
        self._numbers = itertools.count()

    async def domain_screenshot(
        self, call: ClientCall, dom: DomainId, screen: int, flags: int
    ) -> str:
        """Send a screenshot as a stream; its MIME type is the result.

        Raises:
            VirError: INVALID_ARG: there is no such screen.
        """
        guest = self._worker.guest()
        device, head = find_head(guest.domain, screen)
        path = guest.domain_dir / f"screenshot-{next(self._numbers)}"
        arguments: dict[str, object] = {"filename": str(path), "device": device, "head": head}
        try:
            mime = await _screendump(guest, arguments)
            call.set_stream(open_plain_file(path))
        except OSError as error:
            detail = f"cannot read the screenshot of '{guest.name}': {error}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return mime

    async def domain_send_key(
        self,
        call: ClientCall,
        dom: DomainId,
        codeset: int,
        holdtime: int,
        keycodes: list[int],
        flags: int,
    ) -> None:
        """Press keys together, for `holdtime` ms.

        Raises:
            VirError: INVALID_ARG: the code set has no such key.
        """
        if not 0 < len(keycodes) <= MAX_KEYS:
            raise QEMU.errors.invalid_arg(
                f"nkeycodes in qemuDomainSendKey must be from 1 to {MAX_KEYS}"
            )
        if codeset not in tuple(KeycodeSet):
            raise QEMU.errors.invalid_arg(f"there is no codeset {codeset}")
        keys = []
        for code in keycodes:
            number = to_qnum(KeycodeSet(codeset), code)
            if number is None:
                name = KeycodeSet(codeset).name.lower()
                raise QEMU.errors.invalid_arg(
                    f"cannot translate keycode {code} of {name} codeset to qnum keycode"
                )
            keys.append({"type": "number", "data": number})
        arguments: dict[str, object] = {"keys": keys}
        if holdtime:
            arguments["hold-time"] = holdtime
        await self._worker.guest().monitor.execute("send-key", arguments)

    async def domain_inject_nmi(self, call: ClientCall, dom: DomainId, flags: int) -> None:
        """Inject a non-maskable interrupt."""
        await self._worker.guest().monitor.execute("inject-nmi")

    async def domain_open_graphics(
        self, call: ClientCall, dom: DomainId, idx: int, flags: int
    ) -> None:
        """Connect a display to the socket that the client passes.

        Raises:
            VirError: INVALID_ARG: no such display, or no descriptor came.
        """
        if not call.descriptors:
            raise QEMU.errors.invalid_arg("no file descriptor was passed with the call")
        await _add_client(self._worker.guest(), idx, flags, call.descriptors[0].fileno())
        for descriptor in call.descriptors:
            descriptor.close()

    async def domain_open_graphics_fd(
        self, call: ClientCall, dom: DomainId, idx: int, flags: int
    ) -> None:
        """Connect a display to a new socket pair, whose other end goes to the client.

        Raises:
            VirError: INVALID_ARG: no such display.
        """
        qemu_end, client_end = socket.socketpair()
        with qemu_end, client_end:
            await _add_client(self._worker.guest(), idx, flags, qemu_end.fileno())
            call.answer_descriptors.append(Descriptor(client_end.detach()))


async def _screendump(guest: Guest, arguments: dict[str, object]) -> str:
    """Have QEMU write a screenshot: PNG, or PPM where it was built without libpng."""
    try:
        await guest.monitor.execute("screendump", {**arguments, "format": "png"})
    except QmpError as refusal:
        if "format" not in refusal.desc and "png" not in refusal.desc.lower():
            raise
        await guest.monitor.execute("screendump", arguments)
        return PPM
    return PNG


def find_head(domain: Domain, screen: int) -> tuple[str, int]:
    """Return the alias of the video device and its head that show a screen.

    Raises:
        VirError: INVALID_ARG: there is no such screen.
    """
    left = screen
    for video in domain.devices.videos:
        heads = video.model.heads or 1
        if video.model.type != "none" and left < heads:
            return video.alias or "", left
        left -= heads
    raise QEMU.errors.invalid_arg(f"no such screen: {screen}")


async def _add_client(guest: Guest, idx: int, flags: int, fd: int) -> None:
    displays = guest.domain.devices.graphics
    if idx >= len(displays):
        raise QEMU.errors.invalid_arg(f"No graphics backend with index {idx}")
    protocol = displays[idx].type
    if protocol not in ("vnc", "spice"):
        detail = f"Can only open VNC or SPICE graphics backends, not {protocol}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
    name = f"{protocol}fd"
    monitor = guest.monitor
    await monitor.execute("getfd", {"fdname": name}, fd=fd)
    skip = bool(flags & DomainOpenGraphicsFlags.SKIPAUTH)
    # add_client takes the descriptor from `getfd`; one that it refuses stays in the monitor.
    arguments = {"protocol": protocol, "fdname": name, "skipauth": skip}
    try:
        await monitor.execute("add_client", arguments)
    except VirError:
        with contextlib.suppress(VirError):
            await monitor.execute("closefd", {"fdname": name})
        raise
