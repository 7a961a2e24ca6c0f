"""A client of SASL's mechanisms, to talk with the server's side, and its users' database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Callable
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
    """SCRAM (RFC 5802), without channel binding."""

    def __init__(self, user: str, password: str, hash_name: str = "sha256") -> None:
        self._hash = hash_name
        self._bare = f"n={user},r={NONCE}"
        self._password = password

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        fields = dict(item.split("=", 1) for item in challenge.decode().split(","))
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), salt, rounds)
        key = hmac.digest(salted, b"Client Key", self._hash)
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        signature = hmac.digest(hashlib.new(self._hash, key).digest(), message, self._hash)
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def digest_md5(challenge: bytes, user: str, password: str) -> bytes:
    """DIGEST-MD5's response (RFC 2831)."""
    fields = dict(
        part.split("=", 1) for part in challenge.decode(errors="replace").split(",") if "=" in part
    )
    nonce, realm = fields.get("nonce", '""').strip('"'), fields.get("realm", '""').strip('"')
    uri, cnonce = "libvirt/localhost", "abcdefgh"
    # With encryption where it is offered: not below TLS.
    qop = "auth-conf" if b"auth-conf" in challenge else "auth"

    def digest(*parts: bytes) -> bytes:
        return hashlib.md5(b":".join(parts)).digest()

    def hexed(data: bytes) -> bytes:
        return data.hex().encode()

    secret = digest(user.encode(), realm.encode(), password.encode())
    one = hexed(digest(secret, nonce.encode(), cnonce.encode()))
    two = hexed(digest(b"AUTHENTICATE", uri.encode(), *([b"0" * 32] if qop == "auth-conf" else [])))
    response = hexed(
        digest(one, nonce.encode(), b"00000001", cnonce.encode(), qop.encode(), two)
    ).decode()
    return (
        f'username="{user}",realm="{realm}",nonce="{nonce}",cnonce="{cnonce}",nc=00000001,'
        f"qop={qop},{'cipher=rc4,' if qop == 'auth-conf' else ''}maxbuf=65536,"
        f'digest-uri="{uri}",response={response}'
    ).encode()


class RightClient:
    """What a client that knows the password sends, as far as a mechanism is known here."""

    def __init__(self, mechanism: str, user: str, password: str) -> None:
        sha_1 = mechanism == "SCRAM-SHA-1"
        scram = Scram(user, password, "sha1" if sha_1 else "sha256")
        steps: dict[str, tuple[Callable[[bytes], bytes], ...]] = {
            "SCRAM-SHA-256": (lambda _: scram.first(), scram.final),
            "SCRAM-SHA-1": (lambda _: scram.first(), scram.final),
            "DIGEST-MD5": (lambda _: b"", lambda challenge: digest_md5(challenge, user, password)),
            "PLAIN": (lambda _: plain(user, password),),
            "EXTERNAL": (lambda _: b"",),
        }
        self._steps = list(steps.get(mechanism, ()))

    def message(self, challenge: bytes) -> bytes:
        """Make the next message."""
        if not self._steps:
            return b""
        try:
            return self._steps.pop(0)(challenge)
        except (KeyError, ValueError):  # the challenge is not what it should be
            return b""
