"""VirError: the error that reaches clients, libvirt's virError.

Owns: the message from code and detail, and the error's encodings for the bus and for clients.
May not touch: sockets, services.
Source: protocol/errors.json, protocol/net.json (virNetMessageError).
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from rpc.error_codes import MESSAGES, ErrorCode, ErrorDomain

__all__ = ["ErrorCode", "ErrorDomain", "VirError"]

ERROR_LEVEL: Final = 2  # VIR_ERR_ERROR
MAX_TEXT: Final = 1024 * 1024  # bytes of one string of an error; the protocol takes 4 MiB
_HEAD: Final = struct.Struct(">ii")
_INT: Final = struct.Struct(">i")


class _Packed(msgspec.Struct, array_like=True):
    code: int
    detail: str
    domain: int
    level: int
    strings: tuple[str | None, str | None, str | None]
    ints: tuple[int, int]


class VirError(Exception):
    """An error that may reach a client; rpcd encodes it as virError.

    Args:
        code: libvirt 9.0's for the case; clients branch on it.
        detail: follows the code's message; names the object, the cause and the remedy; no secret.
        domain: the part of the daemon that failed.
        level: 2 for an error, 1 for a warning.
        str1: by default the code's message template; clients show none of the three.
        str2: by default the detail.
        str3: depends on the code.
        int1: errno for SYSTEM_ERROR; -1 for none.
        int2: -1 for none.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        domain: ErrorDomain = ErrorDomain.NONE,
        *,
        level: int = ERROR_LEVEL,
        str1: str | None = None,
        str2: str | None = None,
        str3: str | None = None,
        int1: int = -1,
        int2: int = -1,
    ) -> None:
        super().__init__(code, detail, domain)
        self.code = code
        self.detail = detail
        self.domain = domain
        self.level = level
        self.strings = (str1, str2, str3)
        self.ints = (int1, int2)

    @property
    def message(self) -> str:
        """The code's message with the detail."""
        plain, template = MESSAGES.get(self.code, ("error", "error: %s"))
        if not self.detail:
            return plain
        return template.replace("%s", self.detail) if "%s" in template else plain or self.detail

    def __str__(self) -> str:
        return self.message

    def encode(self) -> bytes:
        """Encode the error for the bus."""
        packed = _Packed(self.code, self.detail, self.domain, self.level, self.strings, self.ints)
        return msgspec.msgpack.encode(packed)

    @staticmethod
    def decode(data: bytes) -> VirError:
        """Decode an error that came over the bus.

        Raises:
            msgspec.MsgspecError: the bytes are no error.
        """
        packed = msgspec.msgpack.decode(data, type=_Packed)
        error = VirError(
            _code(packed.code), packed.detail, _domain(packed.domain), level=packed.level
        )
        error.strings = packed.strings
        error.ints = packed.ints
        return error

    def to_wire(self) -> bytes:
        """Encode virNetMessageError, without the domain and network that it may name."""
        template = MESSAGES.get(self.code, ("", ""))[1 if self.detail else 0]
        str1, str2, str3 = self.strings
        texts = (str1 or template, str2 or self.detail or None, str3)
        return b"".join(
            (
                _HEAD.pack(self.code, self.domain),
                _text(self.message),
                _HEAD.pack(self.level, 0),  # no domain
                *(_text(text) for text in texts),
                _HEAD.pack(*self.ints),
                _INT.pack(0),  # no network
            )
        )


def _text(text: str | None) -> bytes:
    """Encode an optional string; one that is too long is cut."""
    if text is None:
        return _INT.pack(0)
    data = text.replace("\0", "?").encode(errors="replace")
    if len(data) > MAX_TEXT:
        data = data[:MAX_TEXT].decode(errors="ignore").encode()  # drops half a character at the end
    return _HEAD.pack(1, len(data)) + data + b"\0" * (-len(data) % 4)


def _code(number: int) -> ErrorCode:
    return ErrorCode(number) if number in MESSAGES or number == 0 else ErrorCode.INTERNAL_ERROR


def _domain(number: int) -> ErrorDomain:
    try:
        return ErrorDomain(number)
    except ValueError:
        return ErrorDomain.NONE
