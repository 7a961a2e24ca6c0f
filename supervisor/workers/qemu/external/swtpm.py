"""swtpm: the process that emulates a guest's TPM.

Owns: its command lines, and its state directory. May touch: that directory, and the socket of the
emulator, which the worker makes. Secrets pass by descriptors.
Source: libvirt 9.0, qemu_tpm.c; swtpm(8), swtpm_setup(8).
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.devices.tpm import Tpm
from conf.errors import ConfError
from conf.settings import QemuConfig
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.runtime import subprocesses
from supervisor.runtime.emulator_user import User
from supervisor.workers.bendable_files import give_socket
from supervisor.workers.qemu.argv.syntax import comma
from supervisor.workers.qemu.external.processes import PATH, ExternalCommand, open_log
from supervisor.workers.unix_sockets import listen

SETUP_S: Final = 60.0  # it makes keys of 2048 bits on a host that may lack entropy
CIPHER: Final = "aes-256-cbc"
FOLDERS: Final = {"1.2": "tpm1.2", "2.0": "tpm2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """What one start of swtpm needs."""

    alias: str
    version: str
    state_dir: Path  # /var/lib/libvirt/swtpm/UUID/tpm2
    log_path: Path
    vmid: str  # NAME:UUID, of the certificates
    user: User
    secret: bytes | None = None  # the passphrase that encrypts the state


def emulated(domain: Domain) -> Iterator[Tpm]:
    """List the TPMs for which the worker starts swtpm."""
    yield from (tpm for tpm in domain.devices.tpms if tpm.backend.type == "emulator")


def version_of(tpm: Tpm) -> str:
    """Return the version of an emulated TPM."""
    return tpm.backend.version or "2.0"


def find_program(name: str) -> str:
    """Find swtpm or swtpm_setup.

    Raises:
        ConfError: "config_unsupported": it is not installed.
    """
    program = shutil.which(name, path=PATH)
    if program is None:
        raise ConfError("config_unsupported", f"Unable to find '{name}' binary in $PATH")
    return program


def swtpm_user(config: QemuConfig) -> User:
    """Choose the user that swtpm runs as: qemu.conf's, or root where the host lacks it."""
    own = User(os.geteuid(), os.getegid(), "")
    if own.uid != 0:
        return own
    try:
        entry = pwd.getpwnam(config.swtpm_user)
        return User(entry.pw_uid, grp.getgrnam(config.swtpm_group).gr_gid, entry.pw_name)
    except KeyError:
        return own


def make_state_dir(emulator: Emulator) -> bool:
    """Make the state directory, for swtpm's user alone; whether it is new, and has no state.

    Raises:
        OSError: it cannot be made.
    """
    root = emulator.state_dir.parent.parent
    root.mkdir(parents=True, exist_ok=True)
    os.chmod(root, 0o711)
    new = not emulator.state_dir.is_dir() or not any(emulator.state_dir.iterdir())
    for folder in (emulator.state_dir.parent, emulator.state_dir):
        folder.mkdir(mode=0o700, exist_ok=True)
        # The first belongs to swtpm's user already: a link there must not give it another folder.
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o700)
            if not emulator.user.is_own:
                os.fchown(fd, emulator.user.uid, emulator.user.gid)
        finally:
            os.close(fd)
    # swtpm and swtpm_setup append to the log themselves, as their user.
    log_fd = open_log(emulator.log_path)
    with contextlib.closing(os.fdopen(log_fd, "ab")) as log_file:
        os.fchown(log_file.fileno(), emulator.user.uid, emulator.user.gid)
    return new


def setup_arguments(emulator: Emulator, secret_fd: int | None) -> list[str]:
    """Plan swtpm_setup, which makes a TPM with keys and certificates."""
    argv = [find_program("swtpm_setup")]
    if emulator.version == "2.0":
        argv.append("--tpm2")
    if secret_fd is not None:
        argv += ["--pwdfile-fd", str(secret_fd), "--cipher", CIPHER]
    argv += ["--tpm-state", str(emulator.state_dir), "--vmid", emulator.vmid]
    argv += ["--logfile", str(emulator.log_path)]
    argv += ["--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram"]
    if not emulator.user.is_own:
        argv += ["--runas", emulator.user.name]
    return [*argv, "--not-overwrite"]


async def set_up(emulator: Emulator) -> None:
    """Make the TPM of a first start; a failed one leaves no state.

    Raises:
        VirError: INTERNAL_ERROR: swtpm_setup fails, or hangs.
        ConfError: "config_unsupported": it is not installed.
    """
    with contextlib.ExitStack() as closing:
        secret_fd = pass_secret(emulator.secret, closing)
        argv = setup_arguments(emulator, secret_fd)
        fds = () if secret_fd is None else (secret_fd,)
        finished = await subprocesses.run(argv, deadline_s=SETUP_S, pass_fds=fds)
    if finished.code != 0:
        shutil.rmtree(emulator.state_dir, ignore_errors=True)
        last = finished.output_text.splitlines()[-1]
        detail = (
            f"Could not run '{argv[0]}'. exitstatus: {finished.code}; "
            f"Check error log '{emulator.log_path}' for details: {last}"
        )
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.TPM)


def pass_secret(secret: bytes | None, closing: contextlib.ExitStack) -> int | None:
    """Write a passphrase to a pipe that a program inherits; None without one."""
    if secret is None:
        return None
    reader, writer = os.pipe2(os.O_CLOEXEC)
    closing.callback(os.close, reader)
    with os.fdopen(writer, "wb") as file:
        file.write(secret)  # a pipe takes 64 KiB, a secret has less
    return reader


def listen_for(path: Path, user: User) -> socket.socket:
    """Make the socket on which swtpm, that inherits it, takes QEMU's commands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(path.parent, 0o711)  # QEMU's user reaches the socket, which is its own
    end = listen(path)
    give_socket(path, user)
    return end


def plan_command(emulator: Emulator, fd: int, closing: contextlib.ExitStack) -> ExternalCommand:
    """Plan the emulator; it ends when QEMU closes the connection (--terminate).

    Raises:
        ConfError: "config_unsupported": swtpm is not installed.
    """
    argv = [find_program("swtpm"), "socket", "--ctrl", f"type=unixio,fd={fd}"]
    argv += ["--tpmstate", f"dir={comma(str(emulator.state_dir))},mode=0600"]
    argv += ["--log", f"file={comma(str(emulator.log_path))}", "--terminate"]
    if emulator.version == "2.0":
        argv.append("--tpm2")
    fds = [fd]
    if emulator.secret is not None:
        for option in ("--key", "--migration-key"):
            secret_fd = pass_secret(emulator.secret, closing)
            assert secret_fd is not None, "there is a secret"
            argv += [option, f"pwdfd={secret_fd},mode={CIPHER}"]
            fds.append(secret_fd)
    # It writes its log itself, as libvirt has it, and on the same file says why it cannot start.
    log_fd = open_log(emulator.log_path)
    closing.callback(os.close, log_fd)
    return ExternalCommand(
        alias=emulator.alias, argv=argv, fds=fds, log_fd=log_fd, user=emulator.user
    )
