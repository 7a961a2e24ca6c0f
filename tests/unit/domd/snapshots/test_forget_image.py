"""A merged overlay is taken out of the chains that descendants of its snapshot have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conf.domain.devices.disk import Disk
from conf.domain.devices.disk_chain import Layer, layers, set_layers
from conf.domain.devices.source import Source
from supervisor.domd.snapshots.forget_image import forget_layer


def disk_of(names: list[str], *, ends: bool = False) -> Disk:
    disk = Disk()
    chain = [Layer(type="file", source=Source(file=name), format="qcow2") for name in names]
    set_layers(disk, chain, terminated=ends)
    return disk


def names_of(disk: Disk) -> list[str | None]:
    return [layer.path for layer in layers(disk)]


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=6, unique=True), st.data())
def test_the_image_goes_and_the_others_keep_their_order(
    names: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(names) - 2))
    disk = disk_of(names, ends=True)
    assert forget_layer(disk, f"file:{names[place]}", disk_of([names[place + 1]]))
    assert names_of(disk) == [name for name in names if name != names[place]]
    assert disk.chain_ends()


def test_an_image_that_the_xml_names_alone_gives_way_to_the_one_it_was_merged_into() -> None:
    disk = disk_of(["overlay"])
    assert forget_layer(disk, "file:overlay", disk_of(["base"]))
    assert names_of(disk) == ["base"]


def test_the_last_image_of_a_longer_chain_is_left_to_the_headers() -> None:
    disk = disk_of(["top", "overlay"])
    assert forget_layer(disk, "file:overlay", disk_of(["base"]))
    assert names_of(disk) == ["top"]


def test_a_chain_without_the_image_stays_as_it_is() -> None:
    disk = disk_of(["top", "base"])
    assert not forget_layer(disk, "file:other", disk_of(["base"]))
    assert names_of(disk) == ["top", "base"]
