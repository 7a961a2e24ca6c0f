"""A client of SASL's SCRAM and PLAIN, to talk with the server's side, and its users' database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

NONCE: Final = "abcdefgh"
#: The server's side needs Debian's libsasl2-2, libsasl2-modules and sasl2-bin.
needs_sasl: Final = pytest.mark.skipif(
    shutil.which("saslpasswd2") is None, reason="sasl2-bin is not installed"
)


def write_users(folder: Path, mechanisms: str, **passwords: str) -> None:
    """Write etc/sasl2/libvirt.conf and its users below a daemon's root."""
    config = folder / "etc/sasl2"
    config.mkdir(parents=True, exist_ok=True)
    database = folder / "passwd.db"
    (config / "libvirt.conf").write_text(f"mech_list: {mechanisms}\nsasldb_path: {database}\n")
    for user, password in passwords.items():
        command = ["saslpasswd2", "-p", "-f", str(database), "-a", "libvirt", "-c", user]
        subprocess.run(command, input=password, text=True, check=True, timeout=30)


def plain(user: str, password: str) -> bytes:
    """PLAIN's only message (RFC 4616)."""
    return f"\0{user}\0{password}".encode()


class Scram:
    """SCRAM-SHA-256 (RFC 5802), without channel binding."""

    def __init__(self, user: str, password: str) -> None:
        self._bare = f"n={user},r={NONCE}"
        self._password = password

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        fields = dict(item.split("=", 1) for item in challenge.decode().split(","))
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, rounds)
        key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
