"""Order of a domain's disks, and with it the disk that <boot dev='hd'/> boots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.device_list import add_device
from conf.domain.device_xml import parse_device
from conf.domain.devices.disk import Disk, DiskTarget
from conf.domain.devices.disk_defaults import complete_live_cache
from conf.domain.devices.disk_order import disk_index, insert_disk, order_disks


def disk(dev: str, bus: str = "", inside: str = "") -> str:
    """A disk's XML."""
    with_bus = f" bus='{bus}'" if bus else ""
    return (
        f"<disk type='file' device='disk'><source file='/{dev}.img'/>"
        f"<target dev='{dev}'{with_bus}/>{inside}</disk>"
    )


def domain(*disks: str) -> Domain:
    """A domain with disks."""
    return parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<devices>{''.join(disks)}</devices></domain>"
    )


def targets(of: Domain) -> list[str]:
    """The disks' target names."""
    return [disk.target.dev for disk in of.devices.disks]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ((("vdb", "virtio"), ("vda", "virtio")), ["vda", "vdb"]),
        ((("sdaa", "scsi"), ("sdz", "scsi"), ("sda", "scsi")), ["sda", "sdz", "sdaa"]),
        ((("hdc", "ide"), ("vdb", "virtio"), ("hda", "ide"), ("vda", "virtio")),
         ["hda", "hdc", "vda", "vdb"]),
        ((("vdb", "virtio"), ("sda", "scsi"), ("vda", "virtio")), ["vda", "vdb", "sda"]),
        ((("vdb", ""), ("vda", "")), ["vda", "vdb"]),
        ((("vdb", "virtio"), ("dataa", "virtio")), ["dataa", "vdb"]),
    ],
)  # fmt: skip
def test_disks_of_a_bus_are_ordered_by_target_name(
    document: tuple[tuple[str, str], ...], expected: list[str]
) -> None:
    assert targets(domain(*(disk(dev, bus) for dev, bus in document))) == expected


def test_added_disk_is_inserted_by_its_target_name() -> None:
    changed = domain(disk("vda", "virtio"), disk("vdc", "virtio"), disk("sda", "scsi"))
    add_device(changed, *parse_device(disk("vdb", "virtio")))
    assert targets(changed) == ["vda", "vdb", "vdc", "sda"]


def test_partition_number_of_a_target_name_does_not_count() -> None:
    assert [disk_index(name) for name in ("hda", "hda1", "xvdb", "sdaa", "disk", "sd", "sdA")] == [
        0, 0, 1, 26, -1, -1, -1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("inside", "cache"),
    [
        ("<shareable/>", "none"),
        ("<shareable/><driver name='qemu' cache='writeback'/>", "writeback"),
        ("<shareable/><driver name='qemu' cache='default'/>", "none"),
        ("<shareable/><readonly/>", None),
        ("", None),
    ],
)
def test_shareable_writable_disk_bypasses_the_host_cache(inside: str, cache: str | None) -> None:
    (shared,) = domain(disk("vda", "virtio", inside)).devices.disks
    complete_live_cache(shared)
    assert (shared.driver.cache if shared.driver else None) == cache


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["virtio", "scsi"]),
            st.sampled_from(["a", "sda", "sdb", "sdab", "vda1"]),
        ),
        max_size=12,
    )
)
def test_sorting_is_inserting_one_after_another(disks: list[tuple[str, str]]) -> None:
    def document() -> list[Disk]:
        return [Disk(target=DiskTarget(dev=dev, bus=bus)) for bus, dev in disks]

    inserted: list[Disk] = []
    for disk in document():
        insert_disk(inserted, disk)
    ordered = document()
    order_disks(ordered)
    assert ordered == inserted
