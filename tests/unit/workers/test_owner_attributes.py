"""The owner of a file is kept with it, as libvirt's own daemon reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.runtime.host import boot_time
from supervisor.workers import owner_attributes
from supervisor.workers.owner_attributes import BOOT, OWNER, USERS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may write such attributes")


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image"
    path.touch()
    try:
        os.setxattr(path, OWNER, b"")
    except OSError:
        pytest.skip("the file system of /tmp has no trusted attributes")
    os.removexattr(path, OWNER)
    return str(path)


def test_a_file_keeps_its_first_owner_and_the_number_of_its_guests(image: str) -> None:
    owner_attributes.remember(image, 1001, 1002)
    owner_attributes.remember(image, 64055, 64055)
    assert owner_attributes.remembered(image) == (1001, 1002)
    assert os.getxattr(image, OWNER) == b"+1001:+1002"
    assert os.getxattr(image, BOOT) == str(boot_time()).encode()
    assert os.getxattr(image, USERS) == b"2"
    owner_attributes.release(image)
    assert os.getxattr(image, USERS) == b"1"
    owner_attributes.forget(image)
    assert os.listxattr(image) == []
    assert owner_attributes.remembered(image) is None


def test_what_an_earlier_boot_has_left_is_replaced(image: str) -> None:
    for name, value in ((OWNER, b"+1:+1"), (USERS, b"3"), (BOOT, b"12345")):
        os.setxattr(image, name, value)
    owner_attributes.remember(image, 7, 8)
    assert owner_attributes.remembered(image) == (7, 8)
    assert os.getxattr(image, USERS) == b"1"


def test_a_file_system_without_attributes_is_no_error() -> None:
    owner_attributes.remember("/proc/self/status", 0, 0)
    owner_attributes.release("/proc/self/status")
    owner_attributes.forget("/proc/self/status")
    assert owner_attributes.remembered("/proc/self/status") is None
