"""Messages out of bytes, however they come and whatever they are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.framing import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE,
    MAX_PAYLOAD,
    Frame,
    FrameDecoder,
    FrameError,
    Header,
    MessageType,
    decode_hole,
    encode,
    encode_hole,
)

CALL = Header(0x20008086, 1, 16, MessageType.CALL, 0, 0)


def with_descriptors(count: int, payload: bytes = b"") -> bytes:
    """A call with descriptors, and the byte that comes with each of them."""
    header = CALL._replace(type=MessageType.CALL_WITH_FDS)
    return encode(header, struct.pack(">I", count) + payload) + bytes(count)


words = st.integers(0, 2**32 - 1)
headers = st.builds(
    Header,
    words,
    words,
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([0, 1, 2, 3, 6, 7, 99]),
    words,
    words,
)


def test_a_call_has_libvirts_encoding() -> None:
    assert encode(CALL, b"abcd").hex() == (
        "00000020" "20008086" "00000001" "00000010" "00000000" "00000000" "00000000" "61626364"
    )  # fmt: skip


@given(st.lists(st.tuples(headers, st.binary(max_size=50)), max_size=5), st.data())
def test_messages_are_decoded_from_any_chunks(
    messages: list[tuple[Header, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode(header, payload) for header, payload in messages)
    decoder, found, at = FrameDecoder(), list[Frame](), 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [(frame.header, frame.payload) for frame in found] == messages


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_any_bytes_become_messages_or_a_frame_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder()
    try:
        for chunk in chunks:
            assert all(len(frame.payload) <= MAX_PAYLOAD for frame in decoder.feed(chunk))
    except FrameError:
        pass


@pytest.mark.parametrize("size", [0, 27, MAX_MESSAGE + 1, 2**32 - 1])
def test_an_invalid_length_is_refused_before_the_message_is_received(size: int) -> None:
    with pytest.raises(FrameError, match=f"a message of {size} bytes"):
        FrameDecoder().feed(struct.pack(">I", size))


def test_an_invalid_length_is_refused_at_its_fourth_byte() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\0\0\0") == []
    with pytest.raises(FrameError):
        decoder.feed(b"\x1b")


def test_the_shortest_message_is_accepted() -> None:
    assert FrameDecoder().feed(encode(CALL, b"")) == [Frame(CALL, b"", 0)]


@pytest.mark.parametrize("count", [0, 1, MAX_DESCRIPTORS])
def test_a_message_with_descriptors_is_returned_after_their_bytes(count: int) -> None:
    stream = with_descriptors(count, b"rest") + encode(CALL, b"next")
    for piece in (1, 3, 7, len(stream)):
        decoder, found = FrameDecoder(), list[Frame]()
        for at in range(0, len(stream), piece):
            found += decoder.feed(stream[at : at + piece])
        assert [(frame.payload, frame.descriptors) for frame in found] == [
            (b"rest", count),
            (b"next", 0),
        ]


def test_a_message_waits_for_the_byte_of_its_last_descriptor() -> None:
    decoder, stream = FrameDecoder(), with_descriptors(2)
    assert decoder.feed(stream[:-1]) == []
    assert len(decoder.feed(stream[-1:])) == 1


def test_more_descriptors_than_a_message_may_have_are_refused() -> None:
    with pytest.raises(FrameError, match="33 descriptors"):
        FrameDecoder().feed(with_descriptors(MAX_DESCRIPTORS + 1))


def test_a_message_with_descriptors_without_their_count_is_refused() -> None:
    with pytest.raises(FrameError, match="without their count"):
        FrameDecoder().feed(encode(CALL._replace(type=MessageType.CALL_WITH_FDS), b"") + bytes(4))


def test_a_payload_beyond_the_limit_is_not_encoded() -> None:
    assert len(FrameDecoder().feed(encode(CALL, bytes(MAX_PAYLOAD)))[0].payload) == MAX_PAYLOAD
    with pytest.raises(FrameError, match="the protocol takes"):
        encode(CALL, bytes(MAX_PAYLOAD + 1))


@given(st.integers(0, 2**63 - 1))
def test_a_stream_hole_survives_encoding(length: int) -> None:
    assert decode_hole(encode_hole(length)) == length


@pytest.mark.parametrize("payload", [b"", bytes(11), struct.pack(">qI", -1, 0), b"\0" * 11 + b"\1"])
def test_an_invalid_stream_hole_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_hole(payload)
