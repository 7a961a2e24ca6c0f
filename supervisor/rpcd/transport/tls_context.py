"""TLS settings: certificates, priorities, and the names of clients that are accepted.

Owns: what libvirtd.conf says of TLS, in OpenSSL's terms.
May not touch: files of the host (the root reads them: rpcd may not), connections.
Source: libvirt 9.0, virnettlscontext.c; GnuTLS's priority strings; RFC 4514.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from typing import Final, cast

from conf.errors import ConfError
from conf.tls_priority import TlsPriority
from conf.types.glob import matches_any
from supervisor.messages.root import TlsFiles

#: RFC 4514's names of attributes, as GnuTLS prints them; others are their OpenSSL name.
ATTRIBUTES: Final = {
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "commonName": "CN",
    "domainComponent": "DC",
    "userId": "UID",
    "streetAddress": "STREET",
    "emailAddress": "EMAIL",
}
_SPECIAL: Final = re.compile(r'([,+"\\<>;])')
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(files: TlsFiles, priority: TlsPriority, *, verify: bool) -> ssl.SSLContext:
    """Make the context of TLS sessions.

    Args:
        files: the certificates, as PEM.
        priority: of versions and ciphers.
        verify: whether clients must show a certificate of the CA.

    Raises:
        ConfError: kind "conf_syntax": OpenSSL does not take one of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[priority.minimum]
    context.maximum_version = _VERSIONS[priority.maximum]
    context.set_ciphers(priority.ciphers)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # each client's certificate is checked anew
    try:
        with _MemoryFile(files.certificate) as certificate, _MemoryFile(files.key) as key:
            context.load_cert_chain(certificate.path, key.path)
        if verify:
            context.verify_mode = ssl.CERT_REQUIRED
            with _MemoryFile(files.ca) as ca:
                context.load_verify_locations(cafile=ca.path)
            if files.crl:
                with _MemoryFile(files.crl) as crl:
                    context.load_verify_locations(cafile=crl.path)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfError("conf_syntax", f"the TLS certificates cannot be used: {reason}") from error
    return context


class _MemoryFile:
    """A file in memory: OpenSSL reads keys and revocation lists from paths alone."""

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("tls", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._fd}"
        os.write(self._fd, data)

    def __enter__(self) -> _MemoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def peer_dn(session: ssl.SSLObject) -> str:
    """Return the distinguished name of the client's certificate; "" when none was verified."""
    certificate = session.getpeercert() or {}
    # The stubs allow for other entries' types: a subject is a tuple of tuples of pairs.
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate.get("subject", ()))
    return format_dn(pair for relative in subject for pair in relative)


def format_dn(attributes: Iterable[tuple[str, str]]) -> str:
    """Format a distinguished name as GnuTLS does: "C=GB,O=Example,CN=admin", as it is stored."""
    return ",".join(f"{ATTRIBUTES.get(name, name)}={_escaped(value)}" for name, value in attributes)


def _escaped(value: str) -> str:
    value = _SPECIAL.sub(r"\\\1", value)
    if value.startswith(("#", " ")):
        value = f"\\{value}"
    return f"{value[:-1]}\\ " if value.endswith(" ") and len(value) > 1 else value


def is_allowed_dn(dn: str, patterns: list[str]) -> bool:
    """Return whether tls_allowed_dn_list has a pattern for a name; an empty list allows all."""
    return not patterns or matches_any(dn, patterns)
