"""Every message of the supervisor: it has a tag of its own and comes out as it went in."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import supervisor.messages
from ipc import Event, Request
from ipc.frames import BodyDecoder, Encoder, FrameDecoder
from ipc.messages import reply_type, tag_of
from supervisor.messages.calls import Client, ClientEvent, ClientRequest, Identity, StreamEnd


def messages() -> Iterator[type]:
    """Every message in `supervisor.messages`."""
    for module in pkgutil.iter_modules(supervisor.messages.__path__):
        found = importlib.import_module(f"supervisor.messages.{module.name}")
        for thing in vars(found).values():
            if isinstance(thing, type) and thing.__module__ == found.__name__:
                yield thing


KINDS = list(messages())
SENT = [kind for kind in KINDS if issubclass(kind, (Request, Event))]


def test_message_tags_are_unique() -> None:
    tags = [tag_of(kind) for kind in SENT]
    assert len(set(tags)) == len(tags)
    assert all("." in tag for tag in tags)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_and_reply_type_has_a_decoder(kind: type) -> None:
    if issubclass(kind, msgspec.Struct):
        BodyDecoder(kind)
    if issubclass(kind, Request):
        BodyDecoder(reply_type(kind))


identities = st.builds(
    Identity,
    uid=st.integers(-1, 2**32 - 1),
    gid=st.integers(-1, 2**32 - 1),
    pid=st.integers(-1, 2**31),
    sasl_name=st.text(),
    tls_dn=st.text(),
    selinux_context=st.text(),
)
clients = st.builds(
    Client,
    id=st.text(),
    identity=identities,
    read_only=st.booleans(),
    uri=st.text(),
    driver=st.sampled_from(["qemu", "lxc", "test"]),
    session=st.booleans(),
)
invokes = st.builds(
    ClientRequest,
    program=st.integers(0, 2**32 - 1),
    procedure=st.integers(0, 2**31 - 1),
    payload=st.binary(),
    client=clients,
)
events = st.builds(
    ClientEvent,
    family=st.text(),
    event_id=st.integers(-1, 40),
    driver=st.text(),
    uuid=st.binary(min_size=16, max_size=16),
    name=st.text(),
    payload=st.binary(),
)
ends = st.builds(StreamEnd, token=st.text(), aborted=st.booleans())


@settings(max_examples=200)
@given(st.one_of(invokes, events, ends))
def test_a_message_survives_encoding(
    message: ClientRequest | ClientEvent | StreamEnd,
) -> None:
    data, _ = Encoder().encode(3, "trace", tag_of(type(message)), message)
    (received,) = FrameDecoder().feed(data)
    assert received.body(BodyDecoder(type(message))) == message
