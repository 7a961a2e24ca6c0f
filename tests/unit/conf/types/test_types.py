"""Readers and writers of the types that several XML models share."""

from __future__ import annotations

import contextlib
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.types.cpuset import (
    cpu_ranges,
    format_cpuset,
    nonempty_cpuset,
    parse_cpulist,
    parse_cpuset,
)
from conf.types.enum import one_of
from conf.types.integer import (
    int_unsigned,
    long_signed,
    uint,
    uint_any,
    unsigned,
    unsigned_any,
)
from conf.types.mac import parse_mac, unicast_mac
from conf.types.mode import format_mode, parse_mode
from conf.types.size import MAX_BYTES, to_bytes, to_kib
from conf.types.uuid import parse_uuid, uuid_reader

CANONICAL = "c7a5fdbd-edaf-9455-926a-d65c16db1809"


@given(st.sets(st.integers(0, 300)))
def test_cpuset_is_formatted_and_parsed_back(numbers: set[int]) -> None:
    assert set(parse_cpulist(format_cpuset(numbers))) == numbers
    assert ",".join(cpu_ranges(numbers)) == format_cpuset(numbers)


def test_cpuset_takes_ranges_and_exclusions() -> None:
    assert parse_cpuset("0-3,^2, 8") == {0, 1, 3, 8}
    assert format_cpuset({0, 1, 2, 5, 7, 8}) == "0-2,5,7-8"
    assert nonempty_cpuset("cpuset")("0,1,2") == "0-2"


@pytest.mark.parametrize("text", ["", "a", "3-1", "0-99999999", "1,,2", "^", "1-2-3"])
def test_malformed_cpuset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_cpuset(text)


def test_cpuset_without_members_is_refused() -> None:
    with pytest.raises(ConfError) as refused:
        nonempty_cpuset("cpuset")("1,^1")
    assert refused.value.kind == "config_unsupported"


def test_kernel_cpulist_may_be_empty() -> None:
    assert parse_cpulist("0-2,8\n") == (0, 1, 2, 8)
    assert parse_cpulist("\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        CANONICAL,
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f" {CANONICAL}\n",
        "c7a5fdbd edaf 9455 926a d65c16db1809",
    ],
)
def test_uuid_is_read_in_every_form_of_libvirt(text: str) -> None:
    assert parse_uuid(text) == CANONICAL


@pytest.mark.parametrize(
    "text",
    ["", CANONICAL[:-1], CANONICAL + "0", f"{{{CANONICAL}}}", f"urn:uuid:{CANONICAL}", "c-" * 32],
)
def test_malformed_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_uuid(text)
    with pytest.raises(ConfError, match="malformed uuid element"):
        uuid_reader("xml", "pool/uuid")(text)


@given(st.text("0123456789abcdefABCDEF- {}:\n", max_size=48))
def test_uuid_reader_gives_a_uuid_or_refuses(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(UUID(parse_uuid(text))) == parse_uuid(text)


def test_mac_address_comes_out_with_two_digits_a_byte() -> None:
    assert parse_mac("52:54:0:AB:c:1") == "52:54:00:ab:0c:01"
    assert unicast_mac("52:54:00:00:00:01") == "52:54:00:00:00:01"


@pytest.mark.parametrize("text", ["", "52:54:00:00:00", "52-54-00-00-00-01", "52:54:00:00:00:001"])
def test_malformed_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_mac(text)


def test_multicast_mac_address_is_refused_for_an_interface() -> None:
    with pytest.raises(ValueError, match="01:00"):
        unicast_mac("01:00:5e:00:00:01")


def test_mode_is_octal_up_to_0777() -> None:
    assert [parse_mode(text) for text in ("0644", "755", "0")] == [0o644, 0o755, 0]
    assert format_mode(0o644) == "0644"
    for text in ("", "8", "01000", "-1", "0o644", "0x1"):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            parse_mode(text)


def test_sizes_have_binary_and_decimal_units() -> None:
    assert [to_bytes(2, unit) for unit in ("b", "KB", "k", "MiB")] == [2, 2000, 2048, 2 << 20]
    assert to_kib(1, "bytes") == 1  # rounded up
    for amount, unit, kind in ((1, "furlong", "invalid_arg"), (MAX_BYTES, "kb", "overflow")):
        with pytest.raises(ConfError, match=unit) as refused:
            to_bytes(amount, unit)
        assert refused.value.kind == kind


def test_bounded_integer_is_decimal_or_has_a_prefix() -> None:
    assert [uint(text) for text in ("0", "007", " 5", "4294967295")] == [0, 7, 5, 2**32 - 1]
    assert uint_any("0x1f") == 31
    for text in ("", "-1", "0x1", "4294967296", "1_0"):
        with pytest.raises(ValueError):  # noqa: PT011  (int's own message, or the text)
            uint(text)


def test_enumeration_has_the_message_of_its_place() -> None:
    read = one_of("a", "b", unknown="unknown letter '{}'")
    assert read("a") == "a"
    with pytest.raises(ConfError, match="unknown letter 'c'") as refused:
        read("c")
    assert refused.value.kind == "config_unsupported"
    with pytest.raises(ValueError, match="c"):
        one_of("a")("c")


def test_integer_has_leading_zeros_or_a_prefix() -> None:
    assert [unsigned(text) for text in ("007", " 12", "+5")] == [7, 12, 5]
    assert [unsigned_any(text) for text in ("010", "0x1f")] == [8, 31]
    assert int_unsigned("-0") == 0


@pytest.mark.parametrize("text", ["", "12 ", "-0", "1_0", "٣", "5x", "0x", "1" * 65])
def test_integer_is_what_strtoul_takes_and_nothing_more(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        unsigned(text)
    with pytest.raises(ValueError, match="-1"):
        unsigned("-1")


def test_signed_integer_is_what_strtoll_takes_and_nothing_more() -> None:
    assert [long_signed(text) for text in ("-1", " +5", "-9223372036854775808")] == [
        -1,
        5,
        -(2**63),
    ]
    for text in ("5 ", "1_0", "٣", "9223372036854775808", "- 1"):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            long_signed(text)
