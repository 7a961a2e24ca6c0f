"""Clients' calls at their owner: the check at start-up, decoding, answers, refusals."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from conf.errors import ConfError
from ipc import DeadlineExceeded, Descriptor, Peer, PeerGone, StandaloneEndpoint
from rpc import table as wire_table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import ExclusiveFlags
from rpc.values import Domain
from supervisor.dispatch.dispatcher import LONG_LIST, ClientCall, Dispatcher, refuse_exclusive
from supervisor.dispatch.errors import VirErrorCodec, from_conf_error
from supervisor.dispatch.events import encode_event
from supervisor.messages.calls import Client, ClientReply, ClientRequest, Identity

CLIENT = Client(
    id="1",
    identity=Identity(uid=0, gid=0, pid=1),
    read_only=False,
    uri="qemu:///system",
    driver="qemu",
)


@dataclass
class Arg:
    name: str


@dataclass
class Proc:
    """A procedure whose arguments and result are lists of numbers."""

    number: int
    name: str
    args: tuple[Arg, ...] = ()
    owner: str | None = "domd"
    kind: str = "call"
    program: int = 7
    exclusive: tuple[ExclusiveFlags, ...] = ()

    def decode_args(self, payload: bytes) -> tuple[Any, ...]:
        if len(payload) != 4 * len(self.args):
            raise ValueError("wrong length")
        return struct.unpack(f">{len(self.args)}i", payload)

    def encode_args(self, value: tuple[Any, ...]) -> bytes:
        return struct.pack(f">{len(value)}i", *value)

    def encode_event(self, value: Any) -> bytes:
        return b""

    def encode_ret(self, value: Any) -> bytes:
        return struct.pack(">i", value)


@dataclass
class Protocol:
    known: list[Proc] = field(default_factory=list)

    def procedures(self) -> Iterable[Proc]:
        return self.known


ADD = Proc(1, "add", (Arg("one"), Arg("two")))
SLOW = Proc(2, "slow", (Arg("one"),))
FAIL = Proc(3, "fail", (Arg("how"),))
GIVE = Proc(4, "give")
OTHER = Proc(5, "other", owner="worker")
TABLE = Protocol([ADD, SLOW, FAIL, GIVE, OTHER])
PROBLEMS: list[Exception] = [
    VirError(ErrorCode.NO_DOMAIN, "no domain 'x'", ErrorDomain.QEMU),
    ConfError("config_unsupported", "no floppies here"),
    DeadlineExceeded("worker is silent"),
    PeerGone("worker has exited"),
    KeyError("a bug"),
]
CODES = [
    ErrorCode.NO_DOMAIN,
    ErrorCode.CONFIG_UNSUPPORTED,
    ErrorCode.OPERATION_TIMEOUT,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.INTERNAL_ERROR,
]


class Calls:
    def __init__(self) -> None:
        self.offered: list[int] = []

    def add(self, call: ClientCall, one: int, two: int) -> int:
        assert call.client == CLIENT
        return one + two

    async def slow(self, call: ClientCall, one: int) -> int:
        await asyncio.sleep(0)
        return one

    async def fail(self, call: ClientCall, how: int) -> int:
        raise PROBLEMS[how]

    def give(self, call: ClientCall) -> int:
        ours, theirs = os.pipe()
        self.offered = [ours, theirs]
        call.answer_descriptors.append(Descriptor(ours))
        call.set_stream(theirs, "token")
        return 0


def ask(procedure: Proc, *numbers: int, surface: Dispatcher | None = None) -> ClientReply:
    """Send a call over a link, as rpcd does."""

    async def story() -> ClientReply:
        ours, theirs = socket.socketpair()
        home = StandaloneEndpoint(VirErrorCodec())
        home.handlers.add(surface or Dispatcher("domd", Calls(), guard=None, table=TABLE))
        peer, other = (
            Peer(ours, "domd", StandaloneEndpoint(VirErrorCodec())),
            Peer(theirs, "rpcd", home),
        )
        payload = struct.pack(f">{len(numbers)}i", *numbers)
        invoke = ClientRequest(
            program=7, procedure=procedure.number, payload=payload, client=CLIENT
        )
        try:
            return await peer.call(invoke)
        finally:
            peer.close()
            await other.wait_closed()

    return asyncio.run(story())


def test_a_call_is_decoded_answered_and_encoded() -> None:
    assert ask(ADD, 2, 3).payload == struct.pack(">i", 5)
    assert ask(SLOW, 9).payload == struct.pack(">i", 9)


@pytest.mark.parametrize(("how", "code"), list(enumerate(CODES)))
def test_every_failure_becomes_the_code_that_clients_expect(how: int, code: ErrorCode) -> None:
    with pytest.raises(VirError) as refused:
        ask(FAIL, how)
    assert refused.value.code == code
    if how < 2:
        assert "domain 'x'" in refused.value.message or "floppies" in refused.value.message


class LongList(Proc):
    """A procedure whose result takes long to encode: until `encoded` is set."""

    encoded = threading.Event()

    def encode_ret(self, value: Any) -> bytes:
        assert self.encoded.wait(10), "the loop waited for the encoding"
        return struct.pack(">i", value[1])


@pytest.mark.parametrize("name", ["plain", "waits"])
def test_the_encoding_of_a_long_list_holds_up_no_other_call(name: str) -> None:
    class Lists:
        def plain(self, call: ClientCall) -> tuple[list[int], int]:
            return [0] * LONG_LIST, LONG_LIST

        async def waits(self, call: ClientCall) -> tuple[list[int], int]:
            return [0] * LONG_LIST, LONG_LIST

        def add(self, call: ClientCall, one: int, two: int) -> int:
            LongList.encoded.set()
            return one + two

    async def story() -> None:
        LongList.encoded.clear()
        surface = Dispatcher("domd", Lists(), guard=None, table=Protocol([LongList(9, name), ADD]))
        home = StandaloneEndpoint(VirErrorCodec())
        home.handlers.add(surface)
        ours, theirs = socket.socketpair()
        peer = Peer(ours, "domd", StandaloneEndpoint(VirErrorCodec()))
        other = Peer(theirs, "rpcd", home)
        request = ClientRequest(program=7, procedure=9, payload=b"", client=CLIENT)
        asked = asyncio.create_task(peer.call(request))
        await asyncio.sleep(0)
        numbers = struct.pack(">ii", 1, 2)
        short = ClientRequest(program=7, procedure=1, payload=numbers, client=CLIENT)
        assert (await peer.call(short)).payload == struct.pack(">i", 3)
        assert (await asked).payload == struct.pack(">i", LONG_LIST)
        peer.close()
        await other.wait_closed()

    asyncio.run(story())


def test_wrong_arguments_are_a_protocol_error() -> None:
    with pytest.raises(VirError, match="add") as refused:
        ask(ADD, 2)
    assert refused.value.code == ErrorCode.RPC


def test_a_result_that_is_not_the_tables_is_an_internal_error() -> None:
    class Wrong(Calls):
        def add(self, call: ClientCall, one: int, two: int) -> int:
            return "five"  # type: ignore[return-value]

    with pytest.raises(VirError, match="add") as refused:
        ask(ADD, 2, 3, surface=Dispatcher("domd", Wrong(), guard=None, table=TABLE))
    assert refused.value.code == ErrorCode.INTERNAL_ERROR


def test_descriptors_and_a_stream_go_with_the_answer() -> None:
    answer = ask(GIVE)
    assert answer.stream is not None
    assert answer.stream.token == "token"
    writer = answer.stream.descriptor
    os.write(writer.fileno(), b"x")
    assert os.read(answer.descriptors[0].fileno(), 1) == b"x"
    writer.close()
    answer.descriptors[0].close()


def test_what_a_refused_call_carried_is_closed() -> None:
    class Late(Calls):
        def give(self, call: ClientCall) -> int:
            super().give(call)
            raise VirError(ErrorCode.OPERATION_FAILED, "too late")

    calls = Late()
    with pytest.raises(VirError):
        ask(GIVE, surface=Dispatcher("domd", calls, guard=None, table=TABLE))
    for fd in calls.offered:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_calls_of_other_owners_are_handed_on_or_refused() -> None:
    async def worker(invoke: ClientRequest) -> ClientReply:
        return ClientReply(payload=b"from the worker")

    surface = Dispatcher("domd", Calls(), guard=None, table=TABLE, fallback=worker)
    assert ask(OTHER, surface=surface).payload == b"from the worker"
    with pytest.raises(VirError) as refused:
        ask(OTHER)
    assert refused.value.code == ErrorCode.NO_SUPPORT


def test_start_up_names_every_method_that_is_missing_or_differs() -> None:
    class Partial:
        def add(self, call: ClientCall, one: int, three: int) -> int:
            return one

        async def slow(self, call: ClientCall, one: int) -> int:
            return one

    with pytest.raises(SystemExit) as refused:
        Dispatcher("domd", Partial(), guard=None, table=TABLE)
    words = str(refused.value)
    assert "add(call, one, three) should be (call, one, two)" in words
    assert "fail has no method" in words
    assert "give has no method" in words
    assert "slow" not in words
    assert "other" not in words


def test_a_method_may_be_on_any_of_the_targets() -> None:
    class Rest:
        def other(self, call: ClientCall) -> int:
            return 4

    table = Protocol([ADD, Proc(5, "other")])
    surface = Dispatcher("domd", Calls(), Rest(), guard=None, table=table)
    assert ask(OTHER, surface=surface).payload == struct.pack(">i", 4)


def test_an_event_is_encoded_without_its_callback_number() -> None:
    domain = Domain("demo", bytes(range(16)), 3)
    table = wire_table.load()
    for name, fields in (
        ("domain_event_callback_lifecycle", (domain, 2, 1)),
        ("domain_event_callback_reboot", (domain,)),
        ("domain_event_callback_pmwakeup", (0, domain)),
        ("domain_monitor_event", (domain, "RESET", 5, 6, None)),
    ):
        payload = encode_event(name, *fields)
        found = table.named(name).decode_args(struct.pack(">i", 8) + payload)
        assert found[0] == 8
        flat = [*found[1:-1], *found[-1]] if name.startswith("domain_event") else list(found[1:])
        assert flat == list(fields)


def test_an_unknown_event_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="nothing"):
        encode_event("nothing")


@pytest.mark.parametrize(
    ("kind", "code"),
    [("xml", "XML_ERROR"), ("internal", "INTERNAL_ERROR"), ("invalid_arg", "INVALID_ARG"),
     ("config_unsupported", "CONFIG_UNSUPPORTED"), ("strange", "INTERNAL_ERROR")],
)  # fmt: skip
def test_a_refused_document_has_libvirts_code(kind: str, code: str) -> None:
    error = from_conf_error(ConfError(kind, "the words"))
    assert error.code == ErrorCode[code]
    assert "the words" in error.message


def test_errors_cross_with_every_part() -> None:
    error = VirError(ErrorCode.NO_DOMAIN, "x", ErrorDomain.QEMU, str1="a", int1=4)
    data = VirErrorCodec().encode(error)
    assert data is not None
    again = VirErrorCodec().decode(data)
    assert isinstance(again, VirError)
    assert vars(again) == vars(error)
    assert VirErrorCodec().encode(KeyError("x")) is None


HOSTNAME = wire_table.load().named("domain_get_hostname")


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 6])
def test_one_of_two_exclusive_flags_passes(flags: int) -> None:
    refuse_exclusive(HOSTNAME, ("dom", flags))


def test_exclusive_flags_are_refused_by_their_names() -> None:
    with pytest.raises(VirError) as refused:
        refuse_exclusive(HOSTNAME, ("dom", 7))
    assert refused.value.code is ErrorCode.INVALID_ARG
    assert "'VIR_DOMAIN_GET_HOSTNAME_LEASE' and 'VIR_DOMAIN_GET_HOSTNAME_AGENT'" in str(
        refused.value
    )
