"""Certificates of a test's own CA, as PEM."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

DAY: Final = timedelta(days=1)
SIGNS: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def name_of(common_name: str, organization: str = "Example") -> x509.Name:
    """A name as "O=Example,CN=…"."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def issue(
    common_name: str,
    issuer: Issued | None = None,
    *,
    purpose: ObjectIdentifier | None = SERVER,
    is_ca: bool = False,
    days: tuple[int, int] = (-1, 30),
    hosts: tuple[str, ...] = ("localhost",),
    rsa_bits: int = 0,
) -> Issued:
    """Make a certificate; without an issuer it signs itself.

    Its key is of an elliptic curve, which is quickly made, but with `rsa_bits`.
    """
    key: Key = ec.generate_private_key(ec.SECP256R1())
    if rsa_bits:
        key = rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(common_name))
        .issuer_name(issuer.certificate.subject if issuer else name_of(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
    )
    # Python 3.13's clients demand what RFC 5280 does: the keys' identifiers, and a CA's usage.
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    signer = issuer.key if issuer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    if is_ca:
        builder = builder.add_extension(SIGNS, critical=True)
    if purpose is not None and not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def authority(common_name: str = "Test CA", *, rsa_bits: int = 0) -> Issued:
    """Make a CA."""
    return issue(common_name, is_ca=True, rsa_bits=rsa_bits)


def write_server(folder: Path, ca: Issued, server: Issued) -> None:
    """Write what the system daemon reads, below its root's etc/pki."""
    for path, data in (
        ("CA/cacert.pem", ca.pem),
        ("libvirt/servercert.pem", server.pem),
        ("libvirt/private/serverkey.pem", server.key_pem),
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o600)


def write_client(folder: Path, ca: Issued, client: Issued | None) -> None:
    """Write what a client reads with `?pkipath=FOLDER`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cacert.pem").write_bytes(ca.pem)
    if client is not None:
        (folder / "clientcert.pem").write_bytes(client.pem)
        (folder / "clientkey.pem").write_bytes(client.key_pem)


def revocation_list(ca: Issued, *revoked: Issued) -> bytes:
    """Make a CA's list of revoked certificates, as PEM."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - DAY)
        .next_update(now + DAY)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(entry.certificate.serial_number)
            .revocation_date(now - DAY)
            .build()
        )
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
