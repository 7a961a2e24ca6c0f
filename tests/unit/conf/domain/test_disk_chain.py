"""A disk is taken apart into its images and put together again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import copy, deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import format_domain, parse_domain
from conf.domain.device_xml import format_device, parse_device
from conf.domain.devices.disk import Disk, DiskTarget
from conf.domain.devices.disk_chain import Layer, layers, push_overlay, set_layers, take_chain
from conf.domain.devices.source import Auth, Encryption, SecretReference, Source
from supervisor.runtime.child import RECURSION_LIMIT

LAYERS = st.lists(
    st.builds(
        Layer,
        type=st.just("file"),
        source=st.integers(0, 99).map(lambda number: Source(file=f"/{number}")),
        format=st.sampled_from(["raw", "qcow2"]),
        index=st.integers(1, 99),
    ),
    min_size=1,
    max_size=5,
)


@given(LAYERS, st.booleans())
def test_what_is_put_together_is_taken_apart_again(chain: list[Layer], ends: bool) -> None:
    disk = Disk()
    set_layers(disk, chain, terminated=ends)
    assert layers(disk) == [
        Layer(
            type=layer.type, format=layer.format, index=layer.index,
            source=Source(file=layer.source.file, index=layer.index if depth == 0 else None),
        )
        for depth, layer in enumerate(chain)
    ]  # fmt: skip
    assert disk.chain_ends() is ends
    _, again = parse_device(format_device(disk, live=True))
    assert isinstance(again, Disk)
    assert [layer.location for layer in layers(again)] == [layer.location for layer in chain]


@given(LAYERS, st.booleans())
def test_an_overlay_comes_on_top_and_the_rest_stays(chain: list[Layer], ends: bool) -> None:
    disk = Disk()
    set_layers(disk, chain, terminated=ends)
    push_overlay(disk, Layer(type="file", source=Source(file="/new"), format="qcow2", index=100))
    found = layers(disk)
    assert [layer.location for layer in found[1:]] == [layer.location for layer in chain]
    assert [layer.index for layer in found] == [100, *(layer.index for layer in chain)]
    assert disk.chain_ends() is ends


def test_a_secret_beside_the_source_stays_with_its_image() -> None:
    disk = Disk(
        source=Source(file="/old"),
        encryption=Encryption(format="luks", secrets=[SecretReference(uuid="1")]),
        auth=Auth(username="u"),
    )
    push_overlay(disk, Layer(type="file", source=Source(file="/new"), format="qcow2"))
    assert disk.encryption is None
    assert disk.auth is None
    below = layers(disk)[1].source
    assert below.encryption is not None
    assert below.auth is not None


def test_an_empty_drive_has_no_images() -> None:
    assert layers(Disk(device="cdrom")) == []


@pytest.fixture
def _as_in_a_service() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("_as_in_a_service")
def test_the_longest_chain_is_written_copied_and_read_again() -> None:
    """libvirt's limit is 200 images (VIR_STORAGE_MAX_CHAIN_DEPTH)."""
    disk = Disk(target=DiskTarget(dev="vda", bus="virtio"))
    chain = [Layer(type="file", source=Source(file=f"/{n}"), format="qcow2") for n in range(200)]
    set_layers(disk, chain, terminated=True)
    domain = parse_domain(
        "<domain type='qemu'><name>deep</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
    domain.devices.disks.append(disk)
    again = deepcopy(parse_domain(format_domain(domain, live=True)))
    assert [layer.location for layer in layers(again.devices.disks[0])] == [
        f"file:/{n}" for n in range(200)
    ]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.booleans())
def test_an_overlay_is_put_on_a_chain_as_if_it_were_built_anew(
    names: list[str], ends: bool
) -> None:
    chain = [
        Layer(type="file", source=Source(file=f"/{name}"), format="raw", index=number)
        for number, name in enumerate(names)
    ]
    overlay = Layer(type="file", source=Source(file="/new"), format="qcow2", index=100)
    disk, anew = Disk(target=DiskTarget(dev="vda")), Disk(target=DiskTarget(dev="vda"))
    set_layers(disk, chain, terminated=ends)
    set_layers(anew, [overlay, *chain], terminated=ends)
    before = copy(disk)
    push_overlay(disk, overlay)
    assert disk == anew
    assert [one.path for one in layers(before)] == [one.path for one in chain]
    take_chain(before, disk)
    assert before == anew
