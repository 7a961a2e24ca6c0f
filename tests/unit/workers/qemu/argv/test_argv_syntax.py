"""QEMU's syntaxes, and the cipher that seals secrets."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.workers.qemu.argv.secret_encryption import encrypt
from supervisor.workers.qemu.argv.syntax import comma, json_of, options


def test_commas_are_doubled_and_absent_members_left_out() -> None:
    assert comma("a,b") == "a,,b"
    assert options("socket", id="c", path="/a,b", server=True, wait=False, host=None) == (
        "socket,id=c,path=/a,,b,server=on,wait=off"
    )


def test_json_keeps_the_order_and_leaves_out_what_is_none() -> None:
    text = json_of({"driver": "x", "bus": None, "unit": 0, "on": True})
    assert text == '{"driver":"x","unit":0,"on":true}'


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_any_text_survives_json(members: dict[str, str]) -> None:
    assert json.loads(json_of(members)) == members


def test_the_cipher_is_aes_256_in_cbc_mode() -> None:
    """First block of SP 800-38A, F.2.5."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    cipher = encrypt(key, bytes(range(16)), plain)
    assert cipher[:16].hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    assert len(cipher) == 32  # a whole block of padding follows a full one


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to compare with")
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_openssl_reads_what_was_sealed(size: int) -> None:
    key, iv, plain = bytes(range(32)), bytes(range(16, 32)), bytes(range(size))
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", key.hex(), "-iv", iv.hex()]
    done = subprocess.run(command, input=encrypt(key, iv, plain), capture_output=True, check=True)
    assert done.stdout == plain
