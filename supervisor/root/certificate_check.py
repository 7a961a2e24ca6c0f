"""Checks a server certificate and its CA's as libvirt does before it listens.

    python -m supervisor.root.certificate_check CA-FILE CERTIFICATE-FILE

Owns: these checks. May touch: the two files. May not touch: keys.
Source: libvirt 9.0, virNetTLSContextSanityCheckCredentials.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

USAGE: Final = 2

E = TypeVar("E", bound=x509.ExtensionType)


class CheckError(Exception):
    """A certificate cannot be used."""


def main(arguments: list[str]) -> int:
    """Check both files; the exit status. What is wrong is printed on standard error."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return USAGE
    ca_path, path = (Path(argument) for argument in arguments)
    try:
        check(ca_path, path, datetime.now(UTC))
    except CheckError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def check(ca_path: Path, path: Path, now: datetime) -> None:
    """Check a server certificate and its CA's.

    Raises:
        CheckError: with libvirt's words for it.
    """
    authorities, (certificate, *chain) = load(ca_path), load(path)
    for authority in (*authorities, *chain):
        check_times(authority, ca_path, now, "CA")
        check_authority(authority, ca_path)
    check_times(certificate, path, now, "server")
    check_server(certificate, path)
    if not is_issued_by(certificate, [*chain, *authorities]):
        raise CheckError(
            f"Our own certificate {path} failed validation against {ca_path}: "
            "The certificate hasn't got a known issuer"
        )


def load(path: Path) -> list[x509.Certificate]:
    """Load the certificates of a PEM file.

    Raises:
        CheckError: the file cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CheckError(f"Cannot read certificate '{path}': {error.strerror}") from error
    except ValueError as error:
        raise CheckError(f"Unable to import certificate {path}: {error}") from error


def check_times(certificate: x509.Certificate, path: Path, now: datetime, kind: str) -> None:
    """Refuse a certificate that is not valid now."""
    if now > certificate.not_valid_after_utc:
        raise CheckError(f"The {kind} certificate {path} has expired")
    if now < certificate.not_valid_before_utc:
        raise CheckError(f"The {kind} certificate {path} is not yet active")


def check_authority(certificate: x509.Certificate, path: Path) -> None:
    """Refuse a CA certificate that may not sign others."""
    constraints = _extension(certificate, x509.BasicConstraints)
    # Certificates of version 1 have no constraints; GnuTLS takes one only if it is self-signed.
    if constraints is not None and not constraints.ca:
        raise CheckError(f"The certificate {path} basic constraints do not show a CA")
    if constraints is None:
        raise CheckError(f"The certificate {path} is missing basic constraints for a CA")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise CheckError(f"Certificate {path} usage does not permit certificate signing")


def check_server(certificate: x509.Certificate, path: Path) -> None:
    """Refuse a certificate that is not for a TLS server."""
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CheckError(
            f"The certificate {path} basic constraints show a CA, but we need one for a server"
        )
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise CheckError(f"Certificate {path} usage does not permit digital signature")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if purposes is not None and not any(purpose in allowed for purpose in purposes):
        raise CheckError(f"Certificate {path} purpose does not allow use for with a TLS server")


def is_issued_by(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> bool:
    """Return whether one of the authorities signed a certificate."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError:  # an extension that cannot be decoded
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
