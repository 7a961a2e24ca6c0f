"""SCRAM's keys of a password, as libsasl2 reads them from a user's record. Pure but for the salt.

Owns: their derivation and their text.
May not touch: libsasl2, users' databases.
Source: RFC 5802, section 3; RFC 5803, section 2 (the text, "authPassword").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Final

HASHES: Final = {
    b"SCRAM-SHA-1": "sha1",
    b"SCRAM-SHA-224": "sha224",
    b"SCRAM-SHA-256": "sha256",
    b"SCRAM-SHA-384": "sha384",
    b"SCRAM-SHA-512": "sha512",
}
CHANNEL_BINDING: Final = b"-PLUS"  # of a mechanism's name; the keys are the same
SALT_SIZE: Final = 16


def scheme_of(mechanism: bytes) -> bytes:
    """Return the name of a mechanism's keys; b"": it is not SCRAM."""
    scheme = mechanism.upper().removesuffix(CHANNEL_BINDING)
    return scheme if scheme in HASHES else b""


def auth_password(scheme: bytes, password: bytes, rounds: int) -> bytes:
    """Derive the keys of a password, with a salt of their own.

    Args:
        scheme: of `HASHES`.
        password: as it is stored.
        rounds: of PBKDF2; it takes the time of so many HMACs.
    """
    name, salt = HASHES[scheme], os.urandom(SALT_SIZE)
    salted = hashlib.pbkdf2_hmac(name, password, salt, rounds)
    stored_key = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    server_key = hmac.digest(salted, b"Server Key", name)
    parts = [base64.b64encode(each) for each in (salt, stored_key, server_key)]
    return b"%b$%d:%b$%b:%b" % (scheme, rounds, parts[0], parts[1], parts[2])
