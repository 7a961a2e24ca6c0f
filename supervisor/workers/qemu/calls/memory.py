"""virDomainMemoryPeek: a part of the guest's memory.

Owns: the method, named as in the table. May touch: QEMU, by QMP; a file in the domain's folder.
Source: libvirt 9.0, qemuDomainMemoryPeek; QEMU 7.2, "memsave", "pmemsave".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from rpc.enums import DomainMemoryFlags as Flags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.workers.qemu.guest import Guest, GuestProvider
from supervisor.workers.qemu.guest_user import guest_user

MAX_PEEK: Final = 4 << 20  # bytes: the protocol's limit
PEEK_S: Final = 10.0


class MemoryCalls:
    """The call, on the worker's domain."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_memory_peek(
        self, call: ClientCall, dom: DomainId, offset: int, size: int, flags: int
    ) -> bytes:
        """Read memory at a virtual address of the first vCPU, or at a physical one.

        Raises:
            VirError: INVALID_ARG: neither or both are asked for, or too much; INTERNAL_ERROR: QEMU
                does not have that memory.
        """
        if flags not in (Flags.VIRTUAL, Flags.PHYSICAL):
            detail = "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
        if size > MAX_PEEK:
            detail = f"size {size} is larger than {MAX_PEEK} bytes"
            raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.QEMU)
        guest = self._worker.guest()
        command = "memsave" if flags == Flags.VIRTUAL else "pmemsave"
        # QEMU opens it by name, as its own user; the data is read by our descriptor.
        path = guest.domain_dir / f"peek-{secrets.token_hex(6)}"
        fd = _create(guest, path)
        try:
            arguments = {"val": offset, "size": size, "filename": str(path)}
            await guest.monitor.execute(command, arguments, timeout_s=PEEK_S)
            data = await asyncio.to_thread(os.pread, fd, size, 0)
        finally:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
        if len(data) != size:
            detail = f"{command} gave {len(data)} bytes of {size}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.QEMU)
        return data


def _create(guest: Guest, path: Path) -> int:
    """Create a file that QEMU may write.

    Raises:
        VirError: SYSTEM_ERROR.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        user = guest_user(guest)
        if not user.is_own:
            os.fchown(fd, user.uid, user.gid)
    except OSError as error:
        detail = f"cannot create '{path}': {error.strerror}"
        raise VirError(
            ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.QEMU, int1=error.errno or -1
        ) from error
    return fd
