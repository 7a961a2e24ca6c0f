"""TLS over another transport: a handshake, then libvirt's byte of acceptance, then messages.

Owns: the TLS session of one client, in memory; the transport below it.
May not touch: sockets, messages, which certificates are accepted (`transport.tls_context`).
Source: libvirt 9.0, virNetServerClientCheckAccess: after the handshake the server sends one byte
0x01 inside TLS to a client that it accepts, and closes the connection of any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from supervisor.rpcd.transport.connected import close_all
from supervisor.rpcd.transport.tls_context import peer_dn
from supervisor.rpcd.transport.transport import Transport

HANDSHAKE_S: Final = 10.0
MAX_HANDSHAKE: Final = 128 * 1024  # bytes from the client: a long chain of certificates fits
CHUNK: Final = 65536
ACCEPTED: Final = b"\1"

log = logging.getLogger(__name__)


class TlsTransport:
    """A TLS client (`Transport`); `handshake` comes first."""

    is_secure = True
    passes_descriptors = False

    def __init__(self, inner: Transport, context: ssl.SSLContext) -> None:
        """Take the transport over; nothing is read before `handshake`."""
        self.name = inner.name
        self.identity = inner.identity
        self.addresses = inner.addresses
        self.cipher_bits = 0
        self.descriptors: deque[int] = deque()
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._handshake_bytes = 0
        self._on_data: Callable[[bytes], None] | None = None
        self._on_close: Callable[[], None] = _ignore
        self._on_accepted: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._inner.closed

    @property
    def unsent(self) -> int:
        """Encrypted bytes that the client has not taken."""
        return self._inner.unsent

    @property
    def is_congested(self) -> bool:
        """Whether so much is unsent that nothing should be added: `drained` waits for its end."""
        return self._inner.is_congested

    def expect(self, size: int) -> None:
        """Tell how many bytes the message under way lacks: they may be read at once."""
        self._inner.expect(size)

    def handshake(self, on_done: Callable[[], None], on_close: Callable[[], None]) -> None:
        """Begin the handshake.

        Args:
            on_done: the certificate, where one is demanded, is one of the CA's; `identity` has its
                name.
            on_close: the handshake failed, or the client left or was too slow; called once, and
                never after `start`.
        """
        self._on_accepted, self._on_close = on_done, on_close
        self._deadline = self._loop.call_later(HANDSHAKE_S, self._too_slow)
        self._inner.start(self._received, self._closed)

    def start(self, on_data: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        """Tell the client that it is accepted, and begin to read."""
        self._on_data, self._on_close = on_data, on_close
        self.send(ACCEPTED)
        # What came with the last bytes of the handshake is delivered when the caller is ready.
        self._loop.call_soon(self._read)

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send bytes; descriptors cannot be passed and are closed."""
        if descriptors:
            close_all(descriptors)
        if self._inner.closed:
            return
        try:
            self._session.write(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()

    def close(self) -> None:
        """Close at once; what is unsent is lost."""
        self._inner.close()

    def close_when_sent(self) -> None:
        """Send TLS's close_notify, read no more, and close when everything queued is sent."""
        if self.closed:
            return
        # SSLWantReadError: the client's own close_notify is not waited for.
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
        self._flush()
        self._inner.close_when_sent()

    def detach(self) -> socket.socket:
        """Refuse: the session cannot be given away."""
        raise ValueError("a TLS client needs no other security layer")

    async def drained(self) -> None:
        """Wait until the client has read most of what was queued."""
        await self._inner.drained()

    def pause_reading(self) -> None:
        """Leave further bytes with the kernel, which makes the client wait."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._inner.resume_reading()

    def _received(self, data: bytes) -> None:
        self._incoming.write(data)
        if self._on_data is not None:
            self._read()
        elif self._on_accepted is not None:
            self._handshake_bytes += len(data)
            self._continue_handshake()

    def _continue_handshake(self) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if self._handshake_bytes > MAX_HANDSHAKE:
                log.warning("client %s is closed: its TLS handshake does not end", self.name)
                self.close()
            return
        except (ssl.SSLError, ValueError) as error:
            self._fail(error)
            return
        self._flush()
        if self.closed:
            return
        done, self._on_accepted = self._on_accepted, None
        self._cancel_deadline()
        cipher = self._session.cipher()
        self.cipher_bits = cipher[2] if cipher is not None else 0
        dn = peer_dn(self._session)
        self.identity = msgspec.structs.replace(self.identity, tls_dn=dn)
        if done is not None and not self.closed:
            done()

    def _read(self) -> None:
        """Deliver what is decrypted; the bytes of one turn of the loop bound its size."""
        while (on_data := self._on_data) is not None:  # it is None once the connection is closed
            try:
                data = self._session.read(CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                self.close()
                return
            except ssl.SSLError as error:
                self._fail(error)
                return
            if not data:
                self.close()
                return
            on_data(data)
            if self._on_data is None or not (self._incoming.pending or self._session.pending()):
                break  # saves the exception that says so
        self._flush()  # answers of TLS itself, such as to a KeyUpdate

    def _fail(self, error: Exception) -> None:
        log.warning("client %s is closed: TLS: %s", self.name, reason_of(error))
        self._flush()  # the alert that tells the client why
        self._inner.close()

    def _flush(self) -> None:
        if not self._inner.closed and self._outgoing.pending:
            self._inner.send(self._outgoing.read())

    def _too_slow(self) -> None:
        log.warning("client %s is closed: no TLS handshake in %.0f s", self.name, HANDSHAKE_S)
        self._inner.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _closed(self) -> None:
        self._cancel_deadline()
        # The transport and those it calls hold each other: OpenSSL's 20 KiB would wait for the next
        # collection, and a client that was long connected for one of the oldest generation.
        del self._session, self._incoming, self._outgoing
        on_close, self._on_close = self._on_close, _ignore
        self._on_data = self._on_accepted = None
        on_close()


def reason_of(error: Exception) -> str:
    """Say why OpenSSL refuses: it writes its reasons as PEER_DID_NOT_RETURN_A_CERTIFICATE."""
    if refusal := getattr(error, "verify_message", ""):
        return f"its certificate is refused: {refusal}"
    reason = getattr(error, "reason", "")
    return reason.replace("_", " ").lower() if reason else str(error)


def _ignore() -> None:
    """Do nothing; the default of `_on_close`."""
