"""Which of the host's devices a guest's QEMU may open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.settings import QemuConfig
from supervisor.runtime.device_filter import DeviceRule
from supervisor.workers.cgroups.devices import device_rules, restrict_devices
from supervisor.workers.cgroups.group import Group
from supervisor.workers.qemu.cgroup.devices import (
    RENDER,
    SOUND,
    TERMINALS,
    allowed_devices,
    device_paths,
    restrict,
)
from supervisor.workers.qemu.cgroup.guest_cgroup import GuestCgroup
from tests.unit.workers.cgroups.fake_tree import v1_layout

NULL, ZERO, FULL = DeviceRule("c", 1, 3), DeviceRule("c", 1, 5), DeviceRule("c", 1, 7)


def domain(devices: str) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>web</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def test_a_plain_guest_may_open_what_every_qemu_needs(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.touch()
    disk = f"<disk type='file'><source file='{image}'/><target dev='vda'/></disk>"
    rules = allowed_devices(domain(disk), QemuConfig())
    assert {NULL, ZERO, FULL, TERMINALS} <= rules
    assert not {RENDER, *SOUND} & rules
    named = allowed_devices(domain(disk), QemuConfig(cgroup_device_acl=["/dev/null"]))
    assert named == {NULL, TERMINALS}


@pytest.mark.parametrize(
    ("devices", "path"),
    [
        ("<disk type='block'><source dev='/dev/sdx'/><target dev='vda'/></disk>", "/dev/sdx"),
        (
            "<disk type='block'><source dev='/dev/sdx'><seclabel model='dac' relabel='no'/>"
            "</source><target dev='vda'/></disk>",
            "/dev/sdx",
        ),
        ("<serial type='dev'><source path='/dev/ttyS9'/></serial>", "/dev/ttyS9"),
        (
            "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>",
            "/dev/hwrng",
        ),
        (
            "<tpm><backend type='passthrough'><device path='/dev/tpm7'/></backend></tpm>",
            "/dev/tpm7",
        ),
        ("<input type='evdev'><source dev='/dev/input/event3'/></input>", "/dev/input/event3"),
        (
            "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='250' slot='31' "
            "function='7'/></source></hostdev>",
            "/dev/vfio/vfio",
        ),
    ],
)
def test_what_the_xml_names_may_be_opened(devices: str, path: str) -> None:
    assert path in set(device_paths(domain(devices)))


def test_sound_and_rendering_have_devices_of_one_kind() -> None:
    assert set(SOUND) <= allowed_devices(domain("<audio id='1' type='alsa'/>"), QemuConfig())
    assert RENDER in allowed_devices(domain("<graphics type='egl-headless'/>"), QemuConfig())


def test_paths_that_are_no_devices_need_no_rule(tmp_path: Path) -> None:
    assert list(device_rules([str(tmp_path), "/nowhere", ""])) == []
    assert list(device_rules(["/dev/null"])) == [NULL]


def test_version_1_denies_all_and_allows_one_by_one(tmp_path: Path) -> None:
    group = Group(v1_layout(tmp_path), "web")
    group.make(["devices"])
    folder = tmp_path / "v1-devices/web"
    restrict_devices(group, frozenset({NULL}))
    assert (folder / "devices.deny").read_text() == "a"
    assert (folder / "devices.allow").read_text() == "c 1:3 rw"
    restrict_devices(group, frozenset({ZERO}), frozenset({NULL}))
    assert (folder / "devices.allow").read_text() == "c 1:5 rw"
    assert (folder / "devices.deny").read_text() == "c 1:3 rw"


def test_a_host_that_cannot_filter_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = v1_layout(tmp_path, "cpu")
    assert not restrict(GuestCgroup(layout, "web"), "web", frozenset({NULL}))
    assert "QEMU may open every device its user may" in caplog.text
    caplog.clear()
    assert not restrict(GuestCgroup(layout, "web", ["cpu"]), "web", frozenset({NULL}))
    assert not caplog.text  # qemu.conf does not ask for it


def test_an_iommu_group_is_found_by_the_devices_link() -> None:
    mdev = (
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
        "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>"
    )
    assert not os.path.exists("/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804")
    assert list(device_paths(domain(mdev))) == ["/dev/vfio/vfio"]
