"""Frames: any chunking, hostile bytes, descriptors beside the bytes."""

from __future__ import annotations

import contextlib
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import Descriptor, ProtocolError, Request
from ipc.frames import (
    MAX_DESCRIPTORS,
    PREFIX,
    BodyDecoder,
    Call,
    Encoder,
    FrameDecoder,
    Received,
    Reply,
)

texts = st.lists(st.text(max_size=50), min_size=1, max_size=8)


class Text(msgspec.Struct, frozen=True):
    """An answer."""

    text: str


class Files(Request[Text], frozen=True, kw_only=True, tag="test.files"):
    """A message with descriptors in several places."""

    deadline_s = 5.0
    one: Descriptor
    more: list[Descriptor] = msgspec.field(default_factory=list)
    named: dict[str, Descriptor] = msgspec.field(default_factory=dict)
    none: Descriptor | None = None


def text_of(received: Received) -> tuple[int, object]:
    """The number and the text of a reply."""
    assert isinstance(received.frame, Reply)
    return received.frame.number, received.body(BodyDecoder(Text))


@given(texts, st.data())
def test_frames_are_decoded_in_order_from_any_chunks(texts: list[str], data: st.DataObject) -> None:
    encoder = Encoder()
    stream = b"".join(encoder.encode(1, n, Text(text))[0] for n, text in enumerate(texts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    decoder = FrameDecoder()
    pieces = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    found = [frame for start, stop in pieces for frame in decoder.feed(stream[start:stop])]
    assert [text_of(frame) for frame in found] == [(n, Text(t)) for n, t in enumerate(texts)]


@given(st.lists(st.binary(max_size=64)))
def test_any_bytes_become_frames_or_a_protocol_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(max_frame=256)
    with contextlib.suppress(ProtocolError):  # any other exception fails the test
        for chunk in chunks:
            decoder.feed(chunk)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_frame_content_is_decoded_or_a_protocol_error(content: bytes, count: int) -> None:
    decoder = FrameDecoder()
    with contextlib.suppress(ProtocolError):
        for received in decoder.feed(PREFIX.pack(len(content), count) + content):
            received.body(BodyDecoder(Files))


@pytest.mark.parametrize(("size", "count"), [(2**31, 0), (10, MAX_DESCRIPTORS + 1)])
def test_a_frame_beyond_the_limits_is_refused_at_its_prefix(size: int, count: int) -> None:
    with pytest.raises(ProtocolError):
        FrameDecoder().feed(PREFIX.pack(size, count))


def test_a_message_beyond_the_limits_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="too large"):
        Encoder().encode(1, 1, b"x" * (64 * 1024 * 1024 + 1))
    with pytest.raises(ProtocolError, match="cannot be sent"):
        Encoder().encode(1, 1, object())


@given(st.integers(0, 5), st.lists(st.sampled_from("abcd"), unique=True), st.booleans())
def test_descriptors_keep_their_places_in_a_message(
    many: int, names: list[str], optional: bool
) -> None:
    def fresh() -> Descriptor:
        return Descriptor(os.open("/dev/null", os.O_RDONLY))

    message = Files(
        one=fresh(),
        more=[fresh() for _ in range(many)],
        named={name: fresh() for name in names},
        none=fresh() if optional else None,
    )
    data, descriptors = Encoder().encode(0, 7, 1.0, "trace", "test.files", message)
    numbers = [descriptor.take() for descriptor in descriptors]
    (received,) = FrameDecoder().feed(data, numbers)
    assert isinstance(received.frame, Call)
    found = received.body(BodyDecoder(Files))
    assert isinstance(found, Files)
    parts = [found.one, *found.more, *found.named.values()]
    parts += [found.none] if found.none else []
    assert sorted(part.fileno() for part in parts) == sorted(numbers)
    assert list(found.named) == names
    assert (found.none is not None) == optional
    for part in parts:
        part.close()


def test_a_descriptor_is_decoded_once() -> None:
    data, _ = Encoder().encode(1, 1, [0, 0])
    fd = os.open("/dev/null", os.O_RDONLY)
    content = data[PREFIX.size :]
    (received,) = FrameDecoder().feed(PREFIX.pack(len(content), 1) + content, [fd])
    with pytest.raises(ProtocolError):
        received.body(BodyDecoder(list[Descriptor]))


def test_a_frame_that_announces_more_descriptors_than_came_is_refused() -> None:
    data, descriptors = Encoder().encode(1, 1, Descriptor(os.open("/dev/null", os.O_RDONLY)))
    descriptors[0].close()
    with pytest.raises(ProtocolError, match="descriptors"):
        FrameDecoder().feed(data)


def test_descriptors_without_frames_are_refused_and_returned() -> None:
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError):
        decoder.feed(b"", list(range(1000, 1001 + MAX_DESCRIPTORS)))
    assert decoder.close() == list(range(1000, 1001 + MAX_DESCRIPTORS))


def test_a_descriptor_that_was_taken_or_closed_is_refused() -> None:
    descriptor = Descriptor(os.open("/dev/null", os.O_RDONLY))
    os.close(descriptor.take())
    with pytest.raises(ValueError, match="taken or closed"):
        descriptor.take()
    descriptor.close()  # once more is no error
    with pytest.raises(ProtocolError, match="taken or closed"):
        Encoder().encode(1, 1, descriptor)
