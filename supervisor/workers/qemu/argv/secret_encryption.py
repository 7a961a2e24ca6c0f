"""Encrypts secrets for QEMU: AES-256-CBC with the master key, as `-object secret` decrypts it.

Owns: the cipher. A secret is a few dozen bytes and is sealed once a start, so plain Python serves,
and nothing needs a C library.
May touch: values only.
May not touch: files, the domain.
Source: FIPS 197 (the cipher), SP 800-38A (the mode), PKCS #7 (the padding).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32
BLOCK: Final = 16
ROUNDS: Final = 14


@dataclass(frozen=True, slots=True)
class EncryptedSecret:
    """A secret encrypted with the guest's master key, both in base64."""

    data: str
    iv: str


def _double(value: int) -> int:
    """Multiply by x in AES's field."""
    value <<= 1
    return value ^ 0x11B if value & 0x100 else value


def _make_sbox() -> bytes:
    """Compute the AES S-box: inverse in the field, then the affine map."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ _double(powers[-1]))
    logs = {value: power for power, value in enumerate(powers)}
    box = bytearray(256)
    for value in range(256):
        inverse = powers[(255 - logs[value]) % 255] if value else 0
        result = 0x63
        for shift in range(5):
            result ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
        box[value] = result
    return bytes(box)


SBOX: Final = _make_sbox()


def _expand(key: bytes) -> list[bytes]:
    """Expand the key into round keys of 16 bytes each."""
    values = [key[n : n + 4] for n in range(0, KEY_BYTES, 4)]
    constant = 1
    while len(values) < 4 * (ROUNDS + 1):
        text = values[-1]
        position = len(values) % 8
        if position == 0:
            text = bytes(SBOX[b] for b in text[1:] + text[:1])
            text = bytes((text[0] ^ constant, *text[1:]))
            constant = _double(constant)
        elif position == 4:
            text = bytes(SBOX[b] for b in text)
        values.append(_xor(values[-8], text))
    return [b"".join(values[n : n + 4]) for n in range(0, len(values), 4)]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _mix(column: bytes) -> bytes:
    a, b, c, d = column
    every = a ^ b ^ c ^ d
    pairs = ((a, b), (b, c), (c, d), (d, a))
    return bytes(x ^ every ^ _double(x ^ y) for x, y in pairs)


def _encrypt_block(round_keys: list[bytes], block: bytes) -> bytes:
    state = _xor(block, round_keys[0])
    for number in range(1, ROUNDS + 1):
        state = bytes(SBOX[state[(5 * n) % BLOCK]] for n in range(BLOCK))  # with shifted rows
        if number < ROUNDS:
            state = b"".join(_mix(state[n : n + 4]) for n in range(0, BLOCK, 4))
        state = _xor(state, round_keys[number])
    return state


def encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """Encrypt with AES-256-CBC, PKCS #7 padding.

    Args:
        key: 32 bytes.
        iv: 16 bytes, never used twice with one key.
        plain: any number of bytes.
    """
    if len(key) != KEY_BYTES or len(iv) != BLOCK:
        raise ValueError(f"the key must have {KEY_BYTES} bytes and the iv {BLOCK}")
    round_keys = _expand(key)
    padding = BLOCK - len(plain) % BLOCK
    padded = plain + bytes([padding]) * padding
    previous, result = iv, b""
    for start in range(0, len(padded), BLOCK):
        previous = _encrypt_block(round_keys, _xor(padded[start : start + BLOCK], previous))
        result += previous
    return result


def new_master_key() -> bytes:
    """Make a guest's master key; it is written to `LaunchInputs.master_key_file`, mode 0600."""
    return secrets.token_bytes(KEY_BYTES)


def encryptor(master_key: bytes) -> Callable[[bytes], EncryptedSecret]:
    """Return the function for `LaunchInputs.encrypt`."""

    def seal(plain: bytes) -> EncryptedSecret:
        iv = secrets.token_bytes(BLOCK)
        data = encrypt(master_key, iv, plain)
        return EncryptedSecret(base64.b64encode(data).decode(), base64.b64encode(iv).decode())

    return seal
