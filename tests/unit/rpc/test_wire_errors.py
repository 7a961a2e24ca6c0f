"""The one error, its words and its two encodings; codes and enumerations against the facts."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc import enums
from rpc.error_codes import MESSAGES, ErrorCode, ErrorDomain
from rpc.errors import MAX_TEXT, VirError
from tests.paths import SHARED

#: The facts are not part of the repository; where they are not at hand the module stands alone.
FACTS: Final = SHARED / "protocol"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="no ../shared/protocol to compare with")

texts = st.text(max_size=30)
maybe = st.none() | texts
int32 = st.integers(-(2**31), 2**31 - 1)


class Wire:
    """A plain reader of XDR, apart from the codecs."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def int(self) -> int:
        (found,) = struct.unpack_from(">i", self.data, self.at)
        self.at += 4
        return int(found)

    def text(self) -> str | None:
        if not self.int():
            return None
        size = self.int()
        found = self.data[self.at : self.at + size]
        self.at += size + -size % 4
        return found.decode()


def read_wire(data: bytes) -> dict[str, Any]:
    """virNetMessageError, as a client reads it."""
    wire = Wire(data)
    found = {"code": wire.int(), "domain": wire.int(), "message": wire.text()}
    found |= {"level": wire.int(), "dom": wire.int()}
    found |= {"str1": wire.text(), "str2": wire.text(), "str3": wire.text()}
    found |= {"int1": wire.int(), "int2": wire.int(), "net": wire.int()}
    assert wire.at == len(data)
    return found


def test_an_error_has_libvirts_encoding() -> None:
    error = VirError(ErrorCode.OPERATION_INVALID, "domain is not running", ErrorDomain.QEMU)
    assert read_wire(error.to_wire()) == {
        "code": 55, "domain": 10, "level": 2, "dom": 0, "net": 0,
        "message": "Requested operation is not valid: domain is not running",
        "str1": "Requested operation is not valid: %s", "str2": "domain is not running",
        "str3": None, "int1": -1, "int2": -1,
    }  # fmt: skip


def test_an_error_has_the_bytes_that_libvirtd_sent() -> None:
    """Recorded from libvirt 9.0: lookup of a name that no domain has."""
    error = VirError(ErrorCode.NO_DOMAIN, "no domain with matching name 'nix'", ErrorDomain.QEMU)
    assert error.to_wire() == (
        b"\0\0\0*\0\0\0\n\0\0\0\x01\0\0\x004Domain not found: no domain with matching name 'nix'"
        b"\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x14Domain not found: %s"
        b"\0\0\0\x01\0\0\0\"no domain with matching name 'nix'\0\0"
        b"\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"
    )


def test_an_error_without_detail_has_the_codes_message() -> None:
    error = VirError(ErrorCode.OPERATION_INVALID)
    assert str(error) == "Requested operation is not valid"
    found = read_wire(error.to_wire())
    assert (found["str1"], found["str2"]) == ("Requested operation is not valid", None)


def test_a_percent_sign_in_the_detail_stays_as_it_is() -> None:
    assert VirError(ErrorCode.INTERNAL_ERROR, "100%s").message == "internal error: 100%s"


def test_errno_of_a_system_error_is_the_first_number() -> None:
    error = VirError(ErrorCode.SYSTEM_ERROR, "cannot open /x: No such file or directory", int1=2)
    assert read_wire(error.to_wire())["int1"] == 2


@given(
    st.sampled_from(ErrorCode), texts, st.sampled_from(ErrorDomain), maybe, maybe, maybe, int32,
    int32,
)  # fmt: skip
def test_any_error_crosses_the_bus_and_the_wire(
    code: ErrorCode,
    detail: str,
    domain: ErrorDomain,
    str1: str | None,
    str2: str | None,
    str3: str | None,
    int1: int,
    int2: int,
) -> None:
    error = VirError(
        code, detail, domain, level=1, str1=str1, str2=str2, str3=str3, int1=int1, int2=int2
    )
    again = VirError.decode(error.encode())
    assert again.to_wire() == error.to_wire()
    assert (again.code, again.domain, again.message) == (code, domain, error.message)
    found = read_wire(error.to_wire())
    assert (found["code"], found["domain"], found["level"]) == (code, domain, 1)
    assert (found["int1"], found["int2"]) == (int1, int2)


def test_a_message_too_long_is_cut_between_characters() -> None:
    error = VirError(ErrorCode.INTERNAL_ERROR, "é" * MAX_TEXT)
    found = read_wire(error.to_wire())  # decodes, so no half character is in it
    assert len(found["message"].encode()) <= MAX_TEXT


def test_an_unknown_error_code_becomes_internal_error() -> None:
    data = VirError(ErrorCode.NO_DOMAIN, "x", ErrorDomain.QEMU).encode()
    again = VirError.decode(data.replace(bytes([ErrorCode.NO_DOMAIN]), b"\x7e", 1))
    assert again.code is ErrorCode.INTERNAL_ERROR


@needs_facts
def test_codes_domains_and_messages_match_the_facts() -> None:
    facts = json.loads((FACTS / "errors.json").read_text())
    codes = {code["number"]: code for code in facts["codes"]}
    assert {code.value: code.name for code in ErrorCode} == {
        number: code["name"].removeprefix("VIR_ERR_").removeprefix("VIR_")
        for number, code in codes.items()
    }
    for number, code in codes.items():
        words = (code["message"] or "", code["message_info"] or "")
        assert MESSAGES.get(number, ("", "")) == words
    assert {d.value: f"VIR_FROM_{d.name}" for d in ErrorDomain} == {
        domain["number"]: domain["name"] for domain in facts["domains"]
    }


@needs_facts
def test_enums_match_the_facts() -> None:
    facts = json.loads((FACTS / "enums.json").read_text())["enums"]
    compared = 0
    for name, enum in facts.items():
        made = getattr(enums, name.removeprefix("vir"), None)
        if made is None:
            assert "admin" in enum["header"] or name in ("virErrorNumber", "virErrorDomain"), name
            continue
        members = made.__members__
        assert len(members) == len(enum["values"]), name
        for member, (word, number) in zip(members.items(), enum["values"].items(), strict=True):
            assert word.endswith(("_" + member[0], "_" + member[0].removeprefix("N"))), word
            assert member[1] == number, word
        compared += 1
    assert compared > 100
