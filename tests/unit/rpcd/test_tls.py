"""TLS clients: the handshake, the byte of acceptance, certificates that are refused."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conf.errors import ConfError
from conf.tls_priority import parse_priority
from supervisor.messages.calls import Identity
from supervisor.messages.root import TlsFiles
from supervisor.rpcd.transport import tls
from supervisor.rpcd.transport.connected import SocketTransport
from supervisor.rpcd.transport.tls import TlsTransport
from supervisor.rpcd.transport.tls_context import format_dn, is_allowed_dn, server_context
from tests.certificates import (
    CLIENT,
    Issued,
    authority,
    issue,
    revocation_list,
    write_client,
)

DEADLINE_S = 20.0
CA = authority()
SERVER = issue("localhost", CA)
ADMIN = issue("admin", CA, purpose=CLIENT)


def files(crl: bytes = b"") -> TlsFiles:
    return TlsFiles(ca=CA.pem, certificate=SERVER.pem, key=SERVER.key_pem, crl=crl)


def client_context(folder: Path, certificate: Issued | None) -> ssl.SSLContext:
    write_client(folder, CA, certificate)
    context = ssl.create_default_context(cafile=str(folder / "cacert.pem"))
    if certificate is not None:
        context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
    return context


class Ends:
    """What became of the server's end."""

    def __init__(self) -> None:
        self.accepted = asyncio.Event()
        self.closed = asyncio.Event()
        self.received = bytearray()
        self.arrived = asyncio.Event()

    def receive(self, data: bytes) -> None:
        self.received += data
        self.arrived.set()


@asynccontextmanager
async def connected(
    *, verify: bool = True, crl: bytes = b"", priority: str = ""
) -> AsyncIterator[tuple[socket.socket, TlsTransport, Ends]]:
    """A client's socket, and the server's transport with its handshake begun."""
    client, server = socket.socketpair()
    inner = SocketTransport(server, Identity(), "client", is_secure=False)
    context = server_context(files(crl), parse_priority(priority), verify=verify)
    transport, ends = TlsTransport(inner, context), Ends()

    def accepted() -> None:
        ends.accepted.set()
        transport.start(ends.receive, ends.closed.set)

    transport.handshake(accepted, ends.closed.set)
    try:
        yield client, transport, ends
    finally:
        transport.close()
        client.close()


@asynccontextmanager
async def stream(
    client: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The client's side, its handshake done."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(
            sock=client, ssl=context, server_hostname="localhost"
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)


async def is_turned_away(client: socket.socket, context: ssl.SSLContext) -> bool:
    """Whether the handshake fails, or no byte comes after it."""
    try:
        async with stream(client, context) as (reader, _):
            await reader.readexactly(1)
    except (ssl.SSLError, asyncio.IncompleteReadError, ConnectionError):
        return True
    return False


async def test_an_accepted_client_gets_one_byte_and_then_its_bytes_pass(tmp_path: Path) -> None:
    context = client_context(tmp_path, ADMIN)
    async with connected() as (client, transport, ends), stream(client, context) as ends_of_client:
        reader, writer = ends_of_client
        assert await reader.readexactly(1) == b"\1"
        assert transport.identity.tls_dn == "O=Example,CN=admin"
        big = bytes(range(256)) * 4096
        transport.send(big)
        assert await reader.readexactly(len(big)) == big
        writer.write(b"hello")
        await ends.arrived.wait()
        assert ends.received == b"hello"
        transport.close_when_sent()
        assert await reader.read() == b""
        await ends.closed.wait()


async def test_a_client_without_a_certificate_gets_no_byte(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected() as (client, _, ends):
        assert await is_turned_away(client, client_context(tmp_path, None))
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)
        assert not ends.accepted.is_set()
    assert "peer did not return a certificate" in caplog.text


@pytest.mark.parametrize(
    "certificate",
    [
        issue("old", CA, purpose=CLIENT, days=(-9, -2)),
        issue("early", CA, purpose=CLIENT, days=(2, 9)),
        issue("stranger", authority("Other CA"), purpose=CLIENT),
        issue("web", CA),  # for a server
    ],
    ids=["expired", "not yet active", "of another CA", "for another use"],
)
async def test_a_certificate_that_does_not_verify_is_refused(
    tmp_path: Path, certificate: Issued
) -> None:
    async with connected() as (client, _, ends):
        assert await is_turned_away(client, client_context(tmp_path, certificate))
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)
        assert not ends.accepted.is_set()


async def test_a_revoked_certificate_is_refused_and_others_are_not(tmp_path: Path) -> None:
    crl = revocation_list(CA, issue("gone", CA, purpose=CLIENT))
    async with connected(crl=crl) as (client, _, _):
        assert not await is_turned_away(client, client_context(tmp_path, ADMIN))
    async with connected(crl=revocation_list(CA, ADMIN)) as (client, _, ends):
        assert await is_turned_away(client, client_context(tmp_path, ADMIN))
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)


async def test_without_verification_no_certificate_is_asked_for(tmp_path: Path) -> None:
    async with connected(verify=False) as (client, transport, _):
        assert not await is_turned_away(client, client_context(tmp_path, None))
        assert transport.identity.tls_dn == ""


async def test_a_silent_client_is_closed_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.01)
    async with connected() as (_, transport, ends):
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)
        assert transport.closed
    assert "no TLS handshake" in caplog.text


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64, b"\x16\x03\x01\xff\xff" + b"a" * 70000]
)
async def test_a_client_that_speaks_no_tls_is_closed(garbage: bytes) -> None:
    async with connected() as (client, _, ends):
        client.settimeout(0)
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):  # closed before it took all of it
                await asyncio.get_running_loop().sock_sendall(client, garbage)
            await ends.closed.wait()
        assert not ends.accepted.is_set()


async def test_an_endless_handshake_is_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "MAX_HANDSHAKE", 100)
    async with connected() as (client, _, ends):
        # The head of a record of 16 KiB whose rest never comes.
        await asyncio.get_running_loop().sock_sendall(
            _unblocked(client), b"\x16\x03\x01\x40\0\1\0\x3f\xfc\x03\x03" + b"a" * 200
        )
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)
    assert "does not end" in caplog.text or "TLS:" in caplog.text


def _unblocked(client: socket.socket) -> socket.socket:
    client.settimeout(0)
    return client


async def test_a_version_that_the_priority_excludes_is_refused(tmp_path: Path) -> None:
    context = client_context(tmp_path, ADMIN)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with connected(priority="NORMAL:-VERS-TLS1.2") as (client, _, ends):
        assert await is_turned_away(client, context)
        await asyncio.wait_for(ends.closed.wait(), DEADLINE_S)


def test_a_key_of_another_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    wrong = TlsFiles(ca=CA.pem, certificate=SERVER.pem, key=ADMIN.key_pem, crl=b"")
    with pytest.raises(ConfError, match="cannot be used"):
        server_context(wrong, parse_priority(""), verify=True)
    assert ADMIN.key_pem.decode() not in repr(wrong)


def test_names_are_written_as_gnutls_writes_them() -> None:
    pairs = [("countryName", "GB"), ("organizationName", 'A, "B"'), ("commonName", "admin ")]
    assert format_dn(pairs) == 'C=GB,O=A\\, \\"B\\",CN=admin\\ '


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        ([], True),
        (["O=Example,CN=admin"], True),
        (["O=Exa*"], True),
        (["*CN=adm?n"], True),
        (["*CN=[a]dmin"], False),
        (["CN=admin"], False),
        (["O=Other,*", "O=Example,CN=x"], False),
    ],
)
def test_names_are_matched_as_globs(patterns: list[str], allowed: bool) -> None:
    assert is_allowed_dn("O=Example,CN=admin", patterns) is allowed


async def test_the_session_of_a_client_is_freed_when_it_ends_without_a_collection(
    tmp_path: Path,
) -> None:
    async with connected() as (client, transport, ends), asyncio.timeout(DEADLINE_S):
        context = client_context(tmp_path, ADMIN)
        with await asyncio.to_thread(
            context.wrap_socket, client, server_hostname="localhost"
        ) as session:
            await ends.accepted.wait()
            freed = weakref.ref(transport._session)
            gc.disable()
            try:
                await asyncio.to_thread(session.close)
                await ends.closed.wait()
                assert freed() is None
            finally:
                gc.enable()
