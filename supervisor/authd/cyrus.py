"""Cyrus SASL's server side, by ctypes: mechanisms, conversations, security layers.

Owns: the binding to libsasl2, and the memory of its connections.
May not touch: sockets, the bus, who is allowed.
Source: sasl/sasl.h of Cyrus SASL 2.1.28; its names are kept in comments.

It is the library that libvirt itself uses, so that administrators' mechanisms, their configuration
(/etc/sasl2/libvirt.conf) and their users (saslpasswd2 -a libvirt) work as they are. Packages of
libvirt's clients depend on it; where it is missing, SASL is refused.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from functools import cache
from typing import Final

from supervisor.authd.auxprop import AuxpropPlugin

APPLICATION: Final = b"libvirt"
LIBRARY: Final = "libsasl2.so.2"
SASL_OK: Final = 0
SASL_CONTINUE: Final = 1
SASL_SUCCESS_DATA: Final = 0x4  # a last message of the server may come with the success
SASL_USERNAME, SASL_SSF, SASL_MAXOUTBUF = 0, 1, 2
SASL_SSF_EXTERNAL, SASL_SEC_PROPS, SASL_AUTH_EXTERNAL = 100, 101, 102
SASL_SEC_NOPLAINTEXT, SASL_SEC_NOANONYMOUS = 0x1, 0x10
MAX_SSF: Final = 100_000
MAX_BUFFER: Final = 65_536  # bytes of one encoded packet, as libvirt asks for
_LOADING: Final = threading.Lock()


class SaslError(Exception):
    """libsasl2 refuses; the message is for the log, never for the client."""


class _SecurityProperties(ctypes.Structure):
    _fields_ = (  # sasl_security_properties_t
        ("min_ssf", ctypes.c_uint),
        ("max_ssf", ctypes.c_uint),
        ("maxbufsize", ctypes.c_uint),
        ("security_flags", ctypes.c_uint),
        ("property_names", ctypes.c_void_p),
        ("property_values", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """What the transport says of a connection to authenticate."""

    local: str  # "ADDRESS;PORT"; "": a Unix socket
    remote: str
    is_protected: bool  # TLS or a Unix socket: no security layer is demanded
    external_ssf: int  # bits of TLS's cipher; 0: there is none
    external_name: str  # of a client certificate, for EXTERNAL
    min_ssf: int  # demanded where it is not protected


@dataclass(frozen=True, slots=True)
class Step:
    """The server's answer in a conversation."""

    data: bytes | None
    is_complete: bool


def library() -> tuple[ctypes.CDLL, AuxpropPlugin]:
    """Return libsasl2, and our plugin before its sasldb; it is loaded at the first call.

    Raises:
        SaslError: the host does not have it, or its configuration is wrong.
    """
    with _LOADING:  # the first clients may come at once, each in a thread
        return _load()


@cache
def _load() -> tuple[ctypes.CDLL, AuxpropPlugin]:
    try:
        loaded = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise SaslError(f"Cyrus SASL is not installed ({LIBRARY}): {error}") from error
    loaded.sasl_errstring.restype = ctypes.c_char_p
    loaded.sasl_errdetail.restype = ctypes.c_char_p
    plugin = AuxpropPlugin(loaded)
    result = loaded.sasl_server_init(plugin.callbacks, APPLICATION)
    if result != SASL_OK:
        raise SaslError(f"cannot initialise Cyrus SASL: {_describe(loaded, result)}")
    plugin.install()
    return loaded, plugin


def _describe(loaded: ctypes.CDLL, result: int) -> str:
    text = loaded.sasl_errstring(result, None, None) or b"?"
    return f"{text.decode(errors='replace')} ({result})"


class SaslConnection:
    """One conversation, and the security layer that it may end with. It blocks: use it in a thread.

    Not to be used by two threads at a time.
    """

    def __init__(self, facts: ConnectionFacts) -> None:
        """Begin a conversation.

        Raises:
            SaslError: libsasl2 refuses.
        """
        self._library, self._plugin = library()
        self._mechanism = ""
        self._handle = ctypes.c_void_p()
        self._check(
            self._library.sasl_server_new(
                APPLICATION,
                None,
                None,
                facts.local.encode() or None,
                facts.remote.encode() or None,
                None,
                SASL_SUCCESS_DATA,
                ctypes.byref(self._handle),
            ),
            "begin",
        )
        self._set_security(facts)

    def _set_security(self, facts: ConnectionFacts) -> None:
        if facts.external_ssf:
            ssf = ctypes.c_uint(facts.external_ssf)
            self._set(SASL_SSF_EXTERNAL, ctypes.byref(ssf))
        if facts.external_name:
            self._set(SASL_AUTH_EXTERNAL, facts.external_name.encode())
        if facts.is_protected:
            # A layer below protects already; a password in plain text is as safe as anything else.
            properties = _SecurityProperties(0, 0, MAX_BUFFER, SASL_SEC_NOANONYMOUS, None, None)
        else:
            flags = SASL_SEC_NOANONYMOUS | SASL_SEC_NOPLAINTEXT
            properties = _SecurityProperties(facts.min_ssf, MAX_SSF, MAX_BUFFER, flags, None, None)
        self._set(SASL_SEC_PROPS, ctypes.byref(properties))

    def _set(self, number: int, value: object) -> None:
        self._check(self._library.sasl_setprop(self._handle, number, value), "set a property")

    def mechanisms(self) -> list[str]:
        """List the mechanisms that are strong enough.

        Raises:
            SaslError: there is none.
        """
        names = ctypes.c_char_p()
        result = self._library.sasl_listmech(
            self._handle, None, b"", b",", b"", ctypes.byref(names), None, None
        )
        self._check(result, "list mechanisms")
        found = [name for name in (names.value or b"").decode().split(",") if name]
        if not found:
            raise SaslError("no mechanism that is set up is strong enough for this connection")
        return found

    def start(self, mechanism: str, data: bytes | None) -> Step:
        """Take the client's choice and its first message.

        Raises:
            SaslError: the client is refused.
        """
        self._mechanism = mechanism
        self._plugin.note_mechanism(mechanism)
        answer, length = ctypes.c_void_p(), ctypes.c_uint()
        result = self._library.sasl_server_start(
            self._handle,
            mechanism.encode(),
            data,
            len(data or b""),
            ctypes.byref(answer),
            ctypes.byref(length),
        )
        return self._step(result, answer, length)

    def step(self, data: bytes | None) -> Step:
        """Take a further message of the client.

        Raises:
            SaslError: the client is refused.
        """
        self._plugin.note_mechanism(self._mechanism)
        answer, length = ctypes.c_void_p(), ctypes.c_uint()
        result = self._library.sasl_server_step(
            self._handle, data, len(data or b""), ctypes.byref(answer), ctypes.byref(length)
        )
        return self._step(result, answer, length)

    def _step(self, result: int, answer: ctypes.c_void_p, length: ctypes.c_uint) -> Step:
        if result not in (SASL_OK, SASL_CONTINUE):
            self._check(result, "authenticate")
        data = ctypes.string_at(answer.value, length.value) if answer.value else None
        return Step(data, result == SASL_OK)

    def username(self) -> str:
        """Return who the client is, once the conversation is complete.

        Raises:
            SaslError: there is no name.
        """
        value = ctypes.c_void_p()
        self._check(
            self._library.sasl_getprop(self._handle, SASL_USERNAME, ctypes.byref(value)),
            "get the name",
        )
        if not value.value:
            raise SaslError("no client username was found")
        return ctypes.string_at(value.value).decode(errors="replace")

    def ssf(self) -> int:
        """Return the strength of the security layer in bits; 0: there is none."""
        return self._number(SASL_SSF)

    def max_encoded(self) -> int:
        """Return how many bytes `encode` takes at once."""
        return self._number(SASL_MAXOUTBUF)

    def _number(self, property_number: int) -> int:
        value = ctypes.POINTER(ctypes.c_uint)()
        result = self._library.sasl_getprop(self._handle, property_number, ctypes.byref(value))
        self._check(result, "get a property")
        return int(value.contents.value)

    def encode(self, data: bytes) -> bytes:
        """Protect bytes for the client.

        Raises:
            SaslError: the layer cannot.
        """
        return self._transform(self._library.sasl_encode, data)

    def decode(self, data: bytes) -> bytes:
        """Check and unprotect bytes of the client; what is incomplete is kept for later.

        Raises:
            SaslError: they are not what the client's layer has made.
        """
        return self._transform(self._library.sasl_decode, data)

    def _transform(self, function: ctypes._NamedFuncPointer, data: bytes) -> bytes:
        answer, length = ctypes.c_void_p(), ctypes.c_uint()
        result = function(self._handle, data, len(data), ctypes.byref(answer), ctypes.byref(length))
        self._check(result, "transform")
        return ctypes.string_at(answer.value, length.value) if answer.value else b""

    def _check(self, result: int, what: str) -> None:
        if result == SASL_OK:
            return
        detail = b""
        if self._handle.value:
            detail = self._library.sasl_errdetail(self._handle) or b""
        reason = detail.decode(errors="replace") or _describe(self._library, result)
        raise SaslError(f"cannot {what}: {reason}")

    def close(self) -> None:
        """Free the connection; its secrets are overwritten by the library."""
        if self._handle.value:
            self._library.sasl_dispose(ctypes.byref(self._handle))
