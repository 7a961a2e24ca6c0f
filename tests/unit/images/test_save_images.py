"""The save image: what is written is read again, and what is no whole image is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.images.save_image import (
    HEADER_BYTES,
    Compression,
    IncompleteImage,
    SaveData,
    SaveImageError,
    new_image,
    read_data,
    read_header,
    with_xml,
)

XML = "<domain type='qemu'><name>web</name></domain>"


def read(image: bytes) -> SaveData:
    header = read_header(image[:HEADER_BYTES])
    return read_data(header, image[HEADER_BYTES : header.stream_offset])


def test_an_image_is_read_as_it_was_written() -> None:
    written = new_image(XML, was_running=True, compression=Compression.ZSTD)
    image = written.encode(complete=True) + b"stream"
    data = read(image)
    assert (data.xml, data.cookie) == (XML, written.cookie)
    assert (data.header.was_running, data.header.compression) == (True, Compression.ZSTD)
    assert image[data.header.stream_offset :] == b"stream"


def test_the_header_is_laid_out_as_libvirts() -> None:
    image = new_image(XML, was_running=True, compression=Compression.XZ).encode(complete=True)
    fields = struct.unpack_from("=16s5I", image)
    length = len(XML) + 1 + len("<cookie>\n</cookie>\n") + 1 + 65536
    assert fields == (b"LibvirtQemudSave", 2, length, 1, 3, len(XML) + 1)
    assert image[92:].startswith(XML.encode() + b"\0<cookie>")


def test_an_image_that_was_not_finished_is_no_image() -> None:
    image = new_image(XML, was_running=True, compression=Compression.RAW).encode(complete=False)
    with pytest.raises(IncompleteImage, match="save image is incomplete"):
        read(image)
    with pytest.raises(IncompleteImage, match="failed to read qemu header"):
        read(image[:50])


def test_an_image_of_a_host_of_the_other_byte_order_is_read() -> None:
    image = new_image(XML, was_running=False, compression=Compression.GZIP).encode(complete=True)
    numbers = struct.unpack_from("=5I", image, 16)
    swapped = image[:16] + b"".join(struct.pack(">I", one) for one in numbers) + image[36:]
    data = read(swapped)
    assert (data.xml, data.header.compression) == (XML, Compression.GZIP)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (16, 9, r"image version is not supported \(150994944 > 2\)"),
        (20, 0, "invalid header data length: 0"),
        (20, 2**31, "32 are accepted|33554432 are accepted"),
        (32, 2**30, "failed to read cookie|failed to read domain XML"),
    ],
)
def test_what_is_no_header_of_libvirts_is_refused(at: int, value: int, message: str) -> None:
    image = new_image(XML, was_running=True, compression=Compression.RAW).encode(complete=True)
    changed = image[:at] + struct.pack("=I", value) + image[at + 4 :]
    with pytest.raises(SaveImageError, match=message):
        read(changed)


def test_an_edited_xml_keeps_the_place_of_the_stream() -> None:
    data = new_image(XML, was_running=True, compression=Compression.RAW)
    edited = with_xml(data, XML.replace("web", "w" * 60000), was_running=False)
    assert edited.header.stream_offset == data.header.stream_offset
    assert len(edited.encode(complete=True)) == edited.header.stream_offset
    assert not read(edited.encode(complete=True)).header.was_running
    with pytest.raises(SaveImageError, match="too large to fit"):
        with_xml(data, "x" * 70000, was_running=True)


@given(st.binary(max_size=300))
def test_hostile_bytes_are_an_image_or_refused(data: bytes) -> None:
    try:
        image = read(data)
    except SaveImageError:
        return
    assert image.header.data_len <= len(data)
