"""Running the host's storage programs, which die with this process.

Owns: where they are, which packages have them, and what their failures are to clients.
May not touch: what they are told; `supervisor.runtime.subprocesses` runs them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses
from supervisor.runtime.subprocesses import SEARCH_PATH, CompletedProgram
from supervisor.stord.progress_log import followed

SHORT_S: Final = 30.0  # a program that only looks
LONG_S: Final = 6 * 3600.0  # one that makes or copies a volume
MAX_SAID: Final = 1000  # characters of an error's text
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


def find(program: str) -> str:
    """Where a program is.

    Raises:
        VirError: CONFIG_UNSUPPORTED: this host does not have it; how to get it.
    """
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        package = PACKAGES.get(program)
        hint = f"install the package {package}" if package else "install it"
        detail = f"this host has no program '{program}': {hint}"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.STORAGE)
    return path


def has(program: str) -> bool:
    """Whether this host has a program."""
    return shutil.which(program, path=SEARCH_PATH) is not None


async def run(
    argv: Sequence[str],
    *,
    given: bytes = b"",
    deadline_s: float = SHORT_S,
    descriptors: Sequence[int] = (),
) -> CompletedProgram:
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
        return await subprocesses.run(
            words, deadline_s=deadline_s, given=given, descriptors=descriptors, follow=followed
        )
    except TimeoutError:
        detail = f"'{argv[0]}' did not end in {deadline_s:g} s and was killed"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from None
    except OSError as error:
        detail = f"cannot execute '{argv[0]}': {os.strerror(error.errno or 0)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE) from error


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


def unchanged(text: str) -> str:
    """The text."""
    return text


def failed(
    argv: Sequence[str], ended: CompletedProgram, named: Callable[[str], str] = unchanged
) -> VirError:
    """INTERNAL_ERROR: a program refused what it was told; `named` makes its words readable."""
    detail = named(f"'{' '.join(argv)}' failed: {ended.output_text[:MAX_SAID]}")
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
