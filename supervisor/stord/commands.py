"""Running the host's storage programs: an argument list, an input, a deadline.

Owns: the child processes while they run: each has its own process group, is killed with what it
started when it takes too long or when nobody waits for it any more, and dies with this process.
May not touch: what they are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.stord.progress import followed

SHORT_S: Final = 30.0  # a program that only looks
LONG_S: Final = 6 * 3600.0  # one that makes or copies a volume
REAPED_S: Final = 2.0  # how long one is waited for that was killed: it may hang in the kernel
MAX_OUTPUT: Final = 64 * 1024 * 1024  # bytes
MAX_SAID: Final = 1000  # characters of an error's text
SEARCHED: Final = "/usr/sbin:/sbin:/usr/bin:/bin"  # a service's PATH may lack sbin
# The event loop leaves a child the second numbers of its own three streams, and LVM's programs
# would say so in front of what we want to know.
ENVIRONMENT: Final = {"PATH": SEARCHED, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")

#: Debian's packages of programs that a host may lack.
PACKAGES: Final = {
    "qemu-img": "qemu-utils",
    "mount.nfs": "nfs-common",
    "showmount": "nfs-common",
    "mount.cifs": "cifs-utils",
    "mount.glusterfs": "glusterfs-client",
    "parted": "parted",
    "vgs": "lvm2",
    "dmsetup": "dmsetup",
    "iscsiadm": "open-iscsi",
    "scrub": "scrub",
    "mkfs.xfs": "xfsprogs",
    "mkfs.vfat": "dosfstools",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that came to its end."""

    code: int
    output: str
    errors: str


def find(program: str) -> str:
    """Where a program is.

    Raises:
        VirError: CONFIG_UNSUPPORTED: this host does not have it; how to get it.
    """
    path = shutil.which(program, path=SEARCHED)
    if path is None:
        package = PACKAGES.get(program)
        hint = f"install the package {package}" if package else "install it"
        detail = f"this host has no program '{program}': {hint}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    return path


def has(program: str) -> bool:
    """Whether this host has a program."""
    return shutil.which(program, path=SEARCHED) is not None


async def run(
    argv: Sequence[str],
    *,
    given: bytes = b"",
    deadline_s: float = SHORT_S,
    descriptors: Sequence[int] = (),
) -> Ended:
    """Run a program to its end.

    Args:
        argv: its name or path, and its arguments.
        given: its standard input.
        deadline_s: it is killed then.
        descriptors: of ours, that it inherits under the same numbers.

    Raises:
        VirError: CONFIG_UNSUPPORTED: the host lacks it; OPERATION_TIMEOUT: it did not end.
    """
    words = [*DIES_WITH_US, find(argv[0]), *argv[1:]]
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=tuple(descriptors),
            limit=MAX_OUTPUT,
        )
    except OSError as problem:
        detail = f"cannot execute '{argv[0]}': {os.strerror(problem.errno or 0)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE) from problem
    try:
        with followed(child.pid):
            async with asyncio.timeout(deadline_s):
                output, errors = await child.communicate(given or None)
    except TimeoutError:
        detail = f"'{argv[0]}' did not end in {deadline_s:g} s and was killed"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from None
    finally:
        if child.returncode is None:
            await _end(child)
    code = child.returncode if child.returncode is not None else -1
    return Ended(code, output.decode(errors="replace"), errors.decode(errors="replace"))


async def run_ok(
    argv: Sequence[str],
    *,
    given: bytes = b"",
    deadline_s: float = SHORT_S,
    descriptors: Sequence[int] = (),
) -> str:
    """Run a program that must succeed; what it printed.

    Raises:
        VirError: INTERNAL_ERROR: it failed, with what it said; as `run`.
    """
    ended = await run(argv, given=given, deadline_s=deadline_s, descriptors=descriptors)
    if ended.code != 0:
        raise failed(argv, ended)
    return ended.output


def failed(argv: Sequence[str], ended: Ended) -> VirError:
    """INTERNAL_ERROR: a program refused what it was told."""
    said = ended.errors.strip() or ended.output.strip() or f"exit status {ended.code}"
    detail = f"'{' '.join(argv)}' failed: {said[:MAX_SAID]}"
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill a program and all that it started; one that hangs in the kernel is left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAPED_S):
            await asyncio.shield(asyncio.ensure_future(child.wait()))
