"""An image of a chain is found by its path, its number, or how a header names it."""

from __future__ import annotations

import pytest

from conf.domain.devices.disk_chain import Layer
from conf.domain.devices.source import Source
from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.block.chain_lookup import (
    find_image,
    no_source_to_commit,
    relative_name,
)

CHAIN = [
    Layer(type="file", source=Source(file=path), format="qcow2", index=index)
    for path, index in (("/i/top", 7), ("/i/mid", 3), ("/i/sub/low", 4), ("/base", 1))
]
HEADERS = [None, "mid", "sub/low", "../../base"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/i/mid", 1), ("vda[4]", 2), ("mid", 1), ("sub/low", 2), ("../i/mid", 1), (None, 3),
        ("/i/top", 0), ("/i/../base", 3),
    ],
)  # fmt: skip
def test_an_image_is_found(name: str | None, place: int) -> None:
    assert find_image(CHAIN, name, "vda", header_names=HEADERS) == place


@pytest.mark.parametrize(
    ("name", "beneath", "message"),
    [
        ("vdb[1]", None, "requested target 'vdb' does not match target 'vda'"),
        ("vda[9]", None, "could not find backing store index '9' in chain for 'vda'"),
        ("/i/top", 0, "could not find image '/i/top' beneath '/i/top' in chain for 'vda'"),
        ("nothing", None, "could not find image 'nothing' in chain for 'vda'"),
        (None, 3, "could not find base image in chain for 'vda'"),
        ("", None, "could not find image '' in chain for 'vda'"),
    ],
)
def test_what_is_not_there_is_named(name: str | None, beneath: int | None, message: str) -> None:
    with pytest.raises(VirError) as refused:
        find_image(CHAIN, name, "vda", beneath=beneath)
    assert refused.value.code is ErrorCode.INVALID_ARG
    assert message in str(refused.value)


def test_a_commit_without_a_source_is_refused_for_its_base_first() -> None:
    below = no_source_to_commit("hdc", None, shallow=True)
    assert below.code is ErrorCode.CONFIG_UNSUPPORTED
    assert "disk hdc has no source file to be committed" in str(below)
    for base, shallow in ((None, False), ("/i/base", True)):
        refusal = no_source_to_commit("hdc", base, shallow=shallow)
        assert refusal.code is ErrorCode.INVALID_ARG
        assert "could not find base image in chain for 'hdc'" in str(refusal)


def test_a_relative_name_leads_over_the_folders_between() -> None:
    assert relative_name(HEADERS, 0, 1) == "mid"
    assert relative_name(HEADERS, 0, 2) == "sub/low"
    assert relative_name(HEADERS, 0, 3) == "../base"
    assert relative_name([None, "/abs", "low"], 0, 2) is None
    assert relative_name([None, "nbd://host/x"], 0, 1) is None
    assert relative_name([None, None], 0, 1) is None
