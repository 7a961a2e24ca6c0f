"""The rig itself: what tests may count on inside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SHAPE = {"disks": 2, "disk_mib": 128}
PACKAGES = {"/usr/sbin/lvm": "lvm2", "/usr/sbin/parted": "parted"}


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_tests_run_as_root_on_a_full_kernel() -> None:
    assert os.geteuid() == 0
    assert "cloud" not in os.uname().release
    assert "memory" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()


@pytest.mark.parametrize("number", [0, 1])
def test_scratch_disks_are_there_by_name(number: int) -> None:
    disk = Path(f"/dev/disk/by-id/virtio-scratch{number}")
    assert disk.is_block_device()


def test_the_hosts_files_are_read_and_never_written() -> None:
    marker = Path("/etc/virtvisor-rig-was-here")
    marker.write_text("in memory alone")
    assert Path(__file__).exists()


def test_partitions_and_volume_groups_can_be_made() -> None:
    disk = "/dev/disk/by-id/virtio-scratch0"
    run("parted", "-s", disk, "mklabel", "gpt", "mkpart", "one", "1MiB", "100%")
    run("udevadm", "settle")
    part = f"{disk}-part1"
    run("pvcreate", "-q", part)
    run("vgcreate", "-q", "rig", part)
    run("lvcreate", "-q", "-y", "-L", "16M", "-n", "volume", "rig")
    assert "volume" in run("lvs", "rig")
    run("vgremove", "-q", "-f", "rig")
