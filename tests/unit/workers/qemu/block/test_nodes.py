"""Block nodes: names are unique, numbered in libvirt's order, and lead back to their disk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import format_domain, parse_domain
from conf.domain.devices.backing_store import BackingFormat, BackingStore
from conf.domain.devices.disk import Disk, DiskDriver, DiskTarget
from conf.domain.devices.source import Source
from supervisor.workers.qemu.block.nodes import (
    disk_of_node,
    free_index,
    number_disk,
    number_disks,
    record_indexes,
)
from tests.unit.workers.qemu.argv.argv_corpus import CORPUS, cases

BUSES = ("virtio", "scsi", "sata", "usb", "ide", "sd")


def disk(target: str, depth: int, bus: str = "virtio", *, copies: bool = False) -> Disk:
    """A disk whose chain has `depth` images; an empty drive for 0."""
    store = BackingStore()
    for level in reversed(range(1, depth)):
        below = BackingStore(
            type="file", format=BackingFormat(type="qcow2"), source=Source(file=f"/{level}")
        )
        below.backing_store = store
        store = below
    return Disk(
        target=DiskTarget(dev=target, bus=bus),
        source=Source(file="/0") if depth else None,
        driver=DiskDriver(type="qcow2", copy_on_read=copies or None),
        backing_store=store if depth else None,
    )


disks = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(BUSES), st.booleans()), max_size=6
).map(
    lambda items: [
        disk(f"vd{chr(ord('a') + number)}", depth, bus, copies=copies)
        for number, (depth, bus, copies) in enumerate(items)
    ]
)


@given(disks)
def test_node_names_are_unique_and_each_leads_back_to_its_disk(domain_disks: list[Disk]) -> None:
    numbered, last = number_disks(domain_disks)
    owners = [
        (name, item)
        for item, nodes in zip(domain_disks, numbered, strict=True)
        if item.target.bus != "sd"
        for name in nodes.names()
    ]
    assert len({name for name, _ in owners}) == len(owners)
    for item, nodes in zip(domain_disks, numbered, strict=True):
        record_indexes(item, nodes)
    for name, item in owners:
        assert disk_of_node(domain_disks, name) is item
    assert disk_of_node(domain_disks, f"libvirt-{last + 1}-format") is None


@given(disks)
def test_images_are_numbered_from_the_last_disk_and_the_top_of_its_chain(
    domain_disks: list[Disk],
) -> None:
    numbered, last = number_disks(domain_disks)
    order = [
        image.index
        for item, nodes in reversed(list(zip(domain_disks, numbered, strict=True)))
        if item.target.bus != "sd"
        for image in nodes.images
    ]
    assert order == sorted(order)
    empty = sum(not item.chain() and item.target.bus != "sd" for item in domain_disks)
    assert last == len(order) + empty


@given(disks, st.integers(0, 3))
def test_a_hotplugged_disk_shares_no_node_name_with_those_before(
    domain_disks: list[Disk], depth: int
) -> None:
    names = [name for nodes in number_disks(domain_disks)[0] for name in nodes.names()]
    names += ["#block123", "libvirt-pflash0-storage", "libvirt-900-backend"]
    added = number_disk(disk("vdz", depth, copies=True), free_index(names))
    assert not set(added.names()) & set(names)


def test_the_filter_is_above_the_top_image_and_children_come_first() -> None:
    nodes = number_disk(disk("vda", 2, copies=True), 5)
    assert list(nodes.names()) == [
        "libvirt-6-storage",
        "libvirt-6-format",
        "libvirt-5-storage",
        "libvirt-5-format",
        "libvirt-CoR-vda",
    ]
    assert nodes.top_name == "libvirt-CoR-vda"
    assert [image.read_only for image in nodes.images] == [False, True]
    assert number_disk(disk("sda", 0), 1).top_name is None


def test_only_the_live_xml_has_numbers() -> None:
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        "<os><type arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'>"
        "<source file='/top'/><target dev='vda'/></disk></devices></domain>"
    )
    (only,) = domain.devices.disks
    record_indexes(only, number_disk(only, 7))
    assert "index='7'" in format_domain(domain, live=True)
    assert "index='7'" not in format_domain(domain)


@pytest.mark.skipif(not CORPUS.exists(), reason=f"no recordings at {CORPUS}")
def test_nodes_have_the_names_that_stock_gave_them_in_its_order() -> None:
    compared = 0
    for case in cases():
        domain = parse_domain(
            case.document.replace("@UUID@", "0" * 8 + "-0000-4000-8000-" + "0" * 12)
        )
        numbered, _ = number_disks(domain.devices.disks)
        planned = [
            name
            for item, nodes in zip(domain.devices.disks, numbered, strict=True)
            if item.target.bus != "sd"
            for name in nodes.names()
        ]
        recorded = [
            json.loads(value)["node-name"]
            for option, value in zip(case.argv, case.argv[1:], strict=False)
            if option == "-blockdev" and value.startswith("{")
        ]
        others = ("pflash", "backend")  # firmware and SCSI host devices
        assert planned == [name for name in recorded if not any(part in name for part in others)]
        compared += bool(planned)
    assert compared > 100
