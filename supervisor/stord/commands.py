"""Runs the host's storage programs: mount, parted, LVM, qemu-img, iscsiadm.

Owns: the search for programs, the hint at missing packages, errors of failed programs.
May not touch: their arguments, which backends plan.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses
from supervisor.runtime.subprocesses import PDEATHSIG_WRAPPER, SEARCH_PATH, CompletedProgram
from supervisor.stord.progress_log import log_io

SHORT_S: Final = 30.0  # a program that reads
LONG_S: Final = 6 * 3600.0  # one that writes a volume
MAX_ERROR_TEXT: Final = 1000  # characters of an error's text
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


def find_program(program: str) -> str:
    """Return a program's path.

    Raises:
        VirError: SYSTEM_ERROR (ENOENT), naming the package to install.
    """
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        package = PACKAGES.get(program)
        hint = f"install the package {package}" if package else "install it"
        detail = f"Cannot find '{program}' in path: {os.strerror(errno.ENOENT)}; {hint}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.STORAGE, int1=errno.ENOENT)
    return path


def has_program(program: str) -> bool:
    """Return whether a program is installed."""
    return shutil.which(program, path=SEARCH_PATH) is not None


async def run(
    argv: Sequence[str],
    *,
    stdin_data: bytes = b"",
    deadline_s: float = SHORT_S,
    descriptors: Sequence[int] = (),
) -> CompletedProgram:
    """Run a program to its end.

    Args:
        argv: its name or path, and its arguments.
        stdin_data: its standard input.
        deadline_s: after which it is killed.
        descriptors: inherited under the same numbers.

    Raises:
        VirError: SYSTEM_ERROR: not installed; OPERATION_TIMEOUT: it was killed.
    """
    # A qemu-img that outlived stord would write a volume that the next one removes or makes again.
    command = [*PDEATHSIG_WRAPPER, find_program(argv[0]), *argv[1:]]
    try:
        return await subprocesses.run(
            command,
            deadline_s=deadline_s,
            stdin=stdin_data,
            pass_fds=descriptors,
            wait_wrapper=log_io,
        )
    except TimeoutError:
        detail = f"'{argv[0]}' did not finish within {deadline_s:g} s and was killed"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.STORAGE) from None
    except OSError as error:
        detail = f"cannot execute '{argv[0]}': {os.strerror(error.errno or 0)}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE) from error


async def run_ok(
    argv: Sequence[str],
    *,
    stdin_data: bytes = b"",
    deadline_s: float = SHORT_S,
    descriptors: Sequence[int] = (),
) -> str:
    """Run a program and return its standard output.

    Raises:
        VirError: INTERNAL_ERROR with its error output when it fails; as `run`.
    """
    completed = await run(
        argv, stdin_data=stdin_data, deadline_s=deadline_s, descriptors=descriptors
    )
    if completed.code != 0:
        raise failed(argv, completed)
    return completed.output


def failed(
    argv: Sequence[str], completed: CompletedProgram, replace_paths: Callable[[str], str] = str
) -> VirError:
    """INTERNAL_ERROR: a program failed; `replace_paths` puts volume names into its message."""
    detail = replace_paths(f"'{' '.join(argv)}' failed: {completed.output_text[:MAX_ERROR_TEXT]}")
    return VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)
