"""Decoding of QMP: any bytes become messages or one error."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.workers.qemu.qmp.protocol import (
    Decoder,
    QmpFormatError,
    decode_message,
    encode_command,
    encode_raw_command,
)


@given(st.lists(st.binary(max_size=64)))
def test_any_bytes_become_messages_or_one_format_error(chunks: list[bytes]) -> None:
    decoder = Decoder(max_line=256)
    with contextlib.suppress(QmpFormatError):
        for chunk in chunks:
            decoder.feed(chunk)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(1, 7))
def test_messages_are_decoded_from_fragments_of_any_size(numbers: list[int], size: int) -> None:
    stream = b"".join(b'{"return": {}, "id": %d}\r\n' % number for number in numbers)
    decoder = Decoder()
    found = []
    for start in range(0, len(stream), size):
        found += [message.id for message in decoder.feed(stream[start : start + size])]
    assert found == numbers


def test_an_endless_line_is_a_format_error() -> None:
    decoder = Decoder(max_line=100)
    with pytest.raises(QmpFormatError, match="over 100 bytes"):
        decoder.feed(b"x" * 101)


def test_deep_nesting_is_a_format_error() -> None:
    with pytest.raises(QmpFormatError):
        decode_message(b'{"return": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_an_event_has_its_name_its_data_and_its_time() -> None:
    line = b'{"event": "STOP", "data": {"a": 1}, "timestamp": {"seconds": 1, "microseconds": 2}}'
    message = decode_message(line)
    assert (message.event, message.timestamp.seconds, message.timestamp.microseconds) == (
        "STOP", 1, 2,
    )  # fmt: skip
    assert message.data is not None
    assert json.loads(bytes(message.data)) == {"a": 1}


def test_absent_members_are_none() -> None:
    message = decode_message(b'{"return": {}, "id": 1}')
    assert (message.event, message.error, message.data, message.greeting) == (None,) * 4
    assert message.return_value is not None


def test_a_command_has_its_id_and_no_empty_arguments() -> None:
    assert json.loads(encode_command("stop", None, 4)) == {"execute": "stop", "id": 4}
    assert json.loads(encode_command("set_link", {"up": False}, 5))["arguments"] == {"up": False}


def test_a_raw_command_gets_our_id() -> None:
    data = encode_raw_command(msgspec.Raw(b'{"execute": "stop", "id": "theirs"}'), 9)
    assert json.loads(data) == {"execute": "stop", "id": 9}


@pytest.mark.parametrize("words", [b"stop", b"[]", b"{}", b'{"id": 1}', b"\xff", b""])
def test_a_raw_command_without_execute_is_refused(words: bytes) -> None:
    with pytest.raises(ValueError, match="QMP command"):
        encode_raw_command(msgspec.Raw(words), 1)
