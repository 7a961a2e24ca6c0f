"""What is left of a vhost-user device in QEMU once it is unplugged: its connection."""

from __future__ import annotations

import pytest

from conf.domain.devices.disk import Disk
from conf.domain.devices.filesystem import Filesystem
from conf.domain.devices.interface import Interface
from supervisor.workers.qemu.hotplug.detach import vhost_user_chardev


@pytest.mark.parametrize(
    ("device", "chardev"),
    [
        (Interface(type="vhostuser", alias="net0"), "charnet0"),
        (Interface(type="network", alias="net0"), ""),
        (Disk(type="vhostuser", alias="virtio-disk0"), "chr-vu-virtio-disk0"),
        (Disk(type="file", alias="virtio-disk0"), ""),
        (Filesystem(alias="fs0"), "chr-vu-fs0"),
    ],
)
def test_the_connection_of_a_vhost_user_device_is_named(
    device: Disk | Filesystem | Interface, chardev: str
) -> None:
    assert vhost_user_chardev(device) == chardev
