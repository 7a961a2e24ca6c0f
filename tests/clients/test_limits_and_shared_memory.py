"""I/O limits, shared memory, optional images, elements that are refused, by stock clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import Watch
from tests.clients.libvirt_binding import libvirt

SHARED = "<shmem name='{name}'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>"
TUNE = (
    "<iotune><total_bytes_sec>1048576</total_bytes_sec><read_iops_sec>50</read_iops_sec>"
    "<read_iops_sec_max>70</read_iops_sec_max></iotune>"
)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Empty images that QEMU's user may reach."""
    found = [tmp_path / f"{number}.img" for number in range(3)]
    for path in found:
        path.write_bytes(bytes(1 << 20))
    return found


def disk(image: Path, target: str, bus: str, words: str) -> str:
    return (
        f"<disk type='file' device='disk'><source file='{image}'/>"
        f"<target dev='{target}' bus='{bus}'/>{words}</disk>"
    )


def throttled(daemon: Daemon, name: str) -> dict[str, tuple[int, int, int]]:
    """Each image's limits, as the emulator has them."""
    reply = json.loads(daemon.ok("qemu-monitor-command", name, '{"execute":"query-block"}'))
    found = {}
    for drive in reply["return"]:
        if "inserted" in drive:
            at = drive["inserted"]
            found[Path(at["file"]).name] = (at["bps"], at["iops_rd"], at.get("iops_rd_max", 0))
    return found


def test_drives_of_every_bus_are_limited(daemon: Daemon, link: Any, images: list[Path]) -> None:
    devices = "".join(
        disk(image, target, bus, TUNE)
        for image, target, bus in zip(
            images, ("vda", "sda", "sdb"), ("virtio", "scsi", "usb"), strict=True
        )
    )
    devices += "<controller type='scsi' model='virtio-scsi'/>"
    top = idle("limited", devices=devices).replace(
        "<controller type='usb' model='none'/>", "<controller type='usb' model='qemu-xhci'/>"
    )
    link.createXML(top, 0)
    assert set(throttled(daemon, "limited").values()) == {(1048576, 50, 70)}
    assert len(throttled(daemon, "limited")) == 3


def test_an_attached_disk_has_its_limits(daemon: Daemon, link: Any, images: list[Path]) -> None:
    domain = link.createXML(idle("limiting"), 0)
    domain.attachDevice(disk(images[0], "vda", "virtio", TUNE))
    assert throttled(daemon, "limiting") == {images[0].name: (1048576, 50, 70)}


def test_shared_memory_at_start_and_by_hotplug(daemon: Daemon, link: Any) -> None:
    name = f"vv-test-{daemon.root.name}"
    shared = Path("/dev/shm") / name
    try:
        link.createXML(idle("first", devices=SHARED.format(name=name)), 0)
        second = link.createXML(idle("second"), 0)
        assert shared.stat().st_size == 1 << 20
        second.attachDevice(SHARED.format(name=name))
        assert "shmem0" in second.XMLDesc()
        for guest in ("first", "second"):
            pci = daemon.ok("qemu-monitor-command", guest, "--hmp", "info pci")
            assert "1af4:1110" in pci
    finally:
        shared.unlink(missing_ok=True)


def test_a_guest_starts_without_optional_images_that_are_missing(link: Any) -> None:
    source = "<source file='/tmp/vv-nothing-here' startupPolicy='optional'/>"
    devices = "".join(
        f"<disk type='file' device='{device}'>{source}<target dev='{target}' bus='ide'/></disk>"
        for device, target in (("cdrom", "hda"), ("disk", "hdb"))
    )
    domain = link.createXML(idle("lacking", devices=devices), 0)
    (drive,) = ElementTree.fromstring(domain.XMLDesc()).findall("devices/disk")
    assert drive.get("device") == "cdrom"
    assert drive.find("source") is None
    domain.destroy()
    with pytest.raises(libvirt.libvirtError, match="vv-nothing-here"):
        link.createXML(idle("lacking", devices=devices.replace("optional", "mandatory")), 0)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (SHARED.format(name="../etc"), "shmem name cannot include"),
        ("<lease><key>k</key><target path='/tmp/l'/></lease>", "<lease> 'k'"),
        ("<controller type='xenbus'/>", "xenbus"),
        (
            "<disk type='file' device='disk'><source file='/tmp/none'/><target dev='vda' "
            "bus='virtio'/><transient/></disk>",
            "<transient/> of disk 'vda'",
        ),
    ],
)
def test_an_element_that_is_not_implemented_is_refused_by_name(
    link: Any, devices: str, words: str
) -> None:
    with pytest.raises(libvirt.libvirtError, match=words):
        link.createXML(idle("refused", devices=devices), 0)
    assert "refused" not in [domain.name() for domain in link.listAllDomains()]


def test_limits_change_while_the_guest_runs(daemon: Daemon, link: Any, images: list[Path]) -> None:
    group = "<iotune><total_bytes_sec>5000000</total_bytes_sec><group_name>g</group_name></iotune>"
    devices = disk(images[0], "vda", "virtio", "") + disk(images[1], "vdb", "virtio", group)
    devices += "<disk type='file' device='cdrom'><target dev='sda' bus='ide'/><readonly/></disk>"
    domain = link.defineXML(idle("tuned", devices=devices))
    domain.create()
    watch = Watch(link, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE)
    domain.setBlockIoTune("vda", {"read_iops_sec": 50, "read_iops_sec_max": 70})
    watch.expect(
        "tuned",
        {
            "blkdeviotune.disk": "vda",
            "blkdeviotune.read_iops_sec": 50,
            "blkdeviotune.read_iops_sec_max": 70,
        },
    )
    watch.close()
    assert throttled(daemon, "tuned")["0.img"] == (0, 50, 70)
    assert domain.blockIoTune("vda")["read_iops_sec_max"] == 70
    # Who joins a group has its limits; who changes them changes all.
    domain.setBlockIoTune("vda", {"group_name": "g", "read_iops_sec": 0, "read_iops_sec_max": 0})
    domain.setBlockIoTune("vda", {"total_bytes_sec": 7000000})
    assert {limits[0] for limits in throttled(daemon, "tuned").values()} == {7000000}
    assert domain.XMLDesc().count("<total_bytes_sec>7000000</total_bytes_sec>") == 2
    assert "7000000" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    for values, code in (
        ({"total_iops_sec_max": 50}, libvirt.VIR_ERR_CONFIG_UNSUPPORTED),
        ({"total_iops_sec": 1, "read_iops_sec": 1}, libvirt.VIR_ERR_INVALID_ARG),
    ):
        with pytest.raises(libvirt.libvirtError) as refusal:
            domain.setBlockIoTune("vda", values)
        assert refusal.value.get_error_code() == code
    with pytest.raises(libvirt.libvirtError, match="inserted entry") as refusal:
        domain.blockIoTune("sda")
    assert refusal.value.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
