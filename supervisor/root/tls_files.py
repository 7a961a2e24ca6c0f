"""The daemon's TLS certificates: where they are, reading them, and whether they can be used.

Owns: the search, and the check of their sanity. May not touch: connections.
Source: libvirt 9.0, virNetTLSContextLocateCredentials and virnettlscontext.c.

rpcd runs as nobody and cannot read the key: the root reads the files for it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conf.settings import DaemonConfig
from supervisor.messages.root import TlsFiles
from supervisor.runtime.paths import Paths

MAX_SIZE: Final = 1024 * 1024  # bytes of one file
CHECK_S: Final = 30.0


class TlsError(Exception):
    """The certificates cannot be used; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Where the certificates are."""

    ca: Path
    certificate: Path
    key: Path
    crl: Path
    crl_required: bool  # libvirtd.conf names it


def no_tls_files(config: DaemonConfig) -> TlsFiles:
    """Refuse: the daemon does not listen for TLS clients.

    Raises:
        TlsError: always.
    """
    raise TlsError("the daemon does not listen for TLS clients")


def load_tls_files(config: DaemonConfig, paths: Paths, *, session: bool) -> TlsFiles:
    """Find, check and read the certificates.

    Raises:
        TlsError: they cannot be used.
    """
    where = tls_paths(config, paths, session=session)
    files = read_tls_files(where)
    if not config.tls_no_sanity_certificate:
        check_certificates(where)
    return files


def tls_paths(config: DaemonConfig, paths: Paths, *, session: bool) -> TlsPaths:
    """Choose the certificates: libvirtd.conf's, a user's own, or the system's.

    Raises:
        TlsError: libvirtd.conf names some of the three and not the others.
    """
    crl = Path(config.crl_file) if config.crl_file else None
    named = {"CA certificate": config.ca_file, "server certificate": config.cert_file}
    named["server key"] = config.key_file
    if any(named.values()):
        missing = [what for what, path in named.items() if not path]
        if missing:
            raise TlsError(f"No {missing[0]} path set: ca_file, cert_file and key_file go together")
        ca, certificate, key = (Path(path) for path in named.values())
        return TlsPaths(ca, certificate, key, crl or Path("/nonexistent"), crl is not None)
    *users, system = paths.pki(session=session)
    for folder in users:
        own = (folder / "cacert.pem", folder / "servercert.pem", folder / "serverkey.pem")
        if all(path.exists() for path in own):
            return TlsPaths(*own, crl or folder / "cacrl.pem", crl is not None)
    return TlsPaths(
        system / "CA/cacert.pem",
        system / "libvirt/servercert.pem",
        system / "libvirt/private/serverkey.pem",
        crl or system / "CA/cacrl.pem",
        crl is not None,
    )


def read_tls_files(where: TlsPaths) -> TlsFiles:
    """Read the certificates.

    Raises:
        TlsError: a file is missing, or cannot be read.
    """
    has_crl = where.crl_required or where.crl.exists()
    return TlsFiles(
        ca=_read("CA certificate", where.ca),
        certificate=_read("server certificate", where.certificate),
        key=_read("server key", where.key),
        crl=_read("CA CRL", where.crl) if has_crl else b"",
    )


def _read(what: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise TlsError(f"Cannot read {what} '{path}': {error.strerror}") from error
    if len(data) > MAX_SIZE:
        raise TlsError(f"{what} '{path}' has more than {MAX_SIZE} bytes")
    return data


def check_certificates(where: TlsPaths) -> None:
    """Refuse certificates that clients would refuse: expired, for another use, of another CA.

    A process of its own loads the library for it, which the root would otherwise carry for ever.

    Raises:
        TlsError: what is wrong, with the file's name.
    """
    command = [sys.executable, "-m", "supervisor.root.certificate_check"]
    command += [str(where.ca), str(where.certificate)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TlsError(f"the certificates cannot be checked: {error}") from error
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason"]
        raise TlsError(reason[0])
