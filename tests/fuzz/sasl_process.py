"""libsasl2 in a process of its own: takes inputs on standard input, and says what went wrong.

    python -m tests.fuzz.sasl_process

Owns: a folder with users. An input and its answer have their length before them; the answer is
empty if all went well.

An input is the mechanism, whether a layer below protects, and messages: raw ones, or such as a
client would send, with bytes changed.
"""

from __future__ import annotations

import base64
import contextlib
import os
import struct
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from supervisor.authd.cyrus import ConnectionFacts, SaslConnection, SaslError, Step
from tests.fuzz.limits import data_size
from tests.unit.authd.sasl_client import RightClient, write_users

MECHANISMS: Final = (
    *("SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "PLAIN", "EXTERNAL", "LOGIN", "CRAM-MD5"),
    *("ANONYMOUS", "NTLM", "GSSAPI", "", "x" * 300, "DIGEST-MD5\0", "é"),
)
PROTECTED: Final = ConnectionFacts(
    local="", remote="", is_protected=True, external_ssf=256, external_name="CN=a", min_ssf=0
)
BARE: Final = ConnectionFacts(
    local="127.0.0.1;1",
    remote="127.0.0.1;2",
    is_protected=False,
    external_ssf=0,
    external_name="",
    min_ssf=56,
)
MAX_STEPS: Final = 6
LAYERS: Final[list[int]] = []  # the strength of each that was made
SETTLED: Final = 3_000  # inputs after which memory should grow no more
MAX_GROWTH: Final = 48 * 1024 * 1024
LAYER_LOSS: Final = 8 * 1024  # libsasl2's own leak (`supervisor.authd.sasl.MAX_LAYERS`)


def messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Split an input into messages: how each is made, a place in it, bytes."""
    found: list[tuple[int, int, bytes]] = []
    while len(data) >= 4 and len(found) < MAX_STEPS:
        how, place, size = struct.unpack_from(">BBH", data)
        found.append((how, place, data[4 : 4 + size % 4096]))
        data = data[4 + size % 4096 :]
    return found


def converse(data: bytes) -> None:
    """Take the messages of an input; a refusal ends it."""
    mechanism = MECHANISMS[(data[0] if data else 0) % len(MECHANISMS)]
    connection = SaslConnection(BARE if data[1:2] == b"\1" else PROTECTED)
    client, challenge, is_first = RightClient(mechanism, "alice", "secret"), b"", True
    try:
        with contextlib.suppress(SaslError):
            connection.mechanisms()
            for how, place, piece in messages(data[2:]):
                message = made(how, place, piece, client.message(challenge))
                step = advance(connection, mechanism, message, is_first=is_first)
                challenge, is_first = step.data or b"", False
                if step.is_complete:
                    finish(connection, piece)
                    return
    finally:
        connection.close()


def advance(
    connection: SaslConnection, mechanism: str, message: bytes | None, *, is_first: bool
) -> Step:
    """Start with the first message, go on with any other."""
    return connection.start(mechanism, message) if is_first else connection.step(message)


def made(how: int, place: int, piece: bytes, right: bytes) -> bytes | None:
    """Make a message: none, a raw one, the right one, or that with bytes changed."""
    match how % 5:
        case 0:
            return right
        case 1:
            return piece
        case 2:
            return None
        case 3:
            place %= len(right) + 1
            return right[:place] + piece + right[place + len(piece) :]
        case _:
            place %= len(right) + 1
            return right[:place] + piece + right[place:]


def finish(connection: SaslConnection, piece: bytes) -> None:
    """Do what follows an authentication, and give the layer bytes that no client has made."""
    connection.username()
    if not connection.ssf():
        return
    LAYERS.append(connection.ssf())
    connection.max_encoded()
    connection.encode(b"reply")
    connection.decode(struct.pack(">I", len(piece)) + piece)
    connection.decode(base64.b64encode(piece) * 3)


def main() -> int:
    """Take inputs until the end of standard input."""
    with tempfile.TemporaryDirectory() as folder:
        write_users(
            Path(folder),
            "scram-sha-256 scram-sha-1 digest-md5 plain external login cram-md5 anonymous ntlm",
            alice="secret",
        )
        with (Path(folder) / "etc/sasl2/libvirt.conf").open("a") as config:
            config.write("scram_iteration_counter: 16\n")  # more rounds would be most of the time
        os.environ["SASL_CONF_PATH"] = f"{folder}/etc/sasl2"
        settled = 0
        count = 0
        while len(size := sys.stdin.buffer.read(4)) == 4:
            data = sys.stdin.buffer.read(struct.unpack(">I", size)[0])
            error = ""
            try:
                converse(data)
            except Exception:  # noqa: BLE001  (whatever it is, it is a finding)
                error = traceback.format_exc()
            count += 1
            if count == SETTLED:
                settled = data_size() - len(LAYERS) * LAYER_LOSS
            if settled and not count % 500:
                growth = data_size() - settled - len(LAYERS) * LAYER_LOSS
                if growth > MAX_GROWTH:
                    error = f"memory has grown by {growth >> 20} MiB"
            answer = error.encode()
            sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
            sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
