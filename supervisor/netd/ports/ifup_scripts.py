"""<script> and <downscript> of interfaces of type ethernet.

Owns: running them. They run with netd's rights: files and networking.
Source: libvirt 9.0 formatdomain, "Generic ethernet connection": the tap's name is the argument.
"""

from __future__ import annotations

import logging
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses

SCRIPT_S: Final = 20.0
MAX_OUTPUT: Final = 1000  # characters of a script's error output in a message

log = logging.getLogger(__name__)


async def run_script(path: str, device: str) -> None:
    """Run an interface's script.

    Raises:
        VirError: INTERNAL_ERROR when it fails; OPERATION_TIMEOUT.
    """
    if not path.startswith("/"):
        detail = f"the script '{path}' of interface '{device}' must be an absolute path"
        raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
    try:
        ended = await subprocesses.run([path, device], deadline_s=SCRIPT_S)
    except TimeoutError:
        detail = f"the script '{path} {device}' took longer than {SCRIPT_S:.0f} s and was killed"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from None
    except OSError as error:
        detail = f"the script '{path}' cannot be executed: {error.strerror}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK) from error
    if ended.code != 0:
        output = ended.output_text[:MAX_OUTPUT]
        detail = f"the script '{path} {device}' failed with {ended.code}: {output}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)


async def try_script(path: str, device: str) -> None:
    """Run a script; its failure is logged."""
    try:
        await run_script(path, device)
    except VirError as error:
        log.warning("%s", error.detail)
