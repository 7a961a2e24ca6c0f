"""What a guest locks."""

from __future__ import annotations

import hashlib

import pytest

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from conf.lockd_settings import LockdConfig
from supervisor.workers.qemu.disk_locks.resources import domain_resources

LEASE = "<lease><key>k</key><target path='/leases'{}/></lease>"


def domain(devices: str) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def disk(source: str, kind: str = "file", extra: str = "") -> str:
    return f"<disk type='{kind}'><source {source}/><target dev='vda'/>{extra}</disk>"


def test_images_that_are_written_to_are_locked_shared_ones_as_such() -> None:
    found = domain_resources(
        domain(
            disk("file='/a'")
            + disk("dev='/dev/b'", "block", "<shareable/>").replace("vda", "vdb")
            + disk("file='/c'", extra="<readonly/>").replace("vda", "vdc")
            + disk("protocol='nbd' name='x'", "network").replace("vda", "vdd")
        ),
        LockdConfig(),
    )
    assert [(item.path, item.shared, item.is_created) for item in found] == [
        ("/a", False, False),
        ("/dev/b", True, False),
    ]


def test_a_lock_file_is_named_by_the_hash_of_the_images_path() -> None:
    config = LockdConfig(file_lockspace_dir="/locks")
    (found,) = domain_resources(domain(disk("file='/a'")), config)
    assert found.name == hashlib.sha256(b"/a").hexdigest()
    assert found.path == f"/locks/{found.name}"
    assert found.is_created


def test_a_lease_is_a_file_in_its_folder() -> None:
    (found,) = domain_resources(domain(LEASE.format("")), LockdConfig())
    assert (found.path, found.name, found.is_created) == ("/leases/k", "k", False)
    with pytest.raises(ConfError, match="Offset must be zero"):
        domain_resources(domain(LEASE.format(" offset='512'")), LockdConfig())


def test_leases_can_be_demanded_of_guests_that_write_alone() -> None:
    config = LockdConfig(auto_disk_leases=False)
    with pytest.raises(ConfError, match="no leases specified"):
        domain_resources(domain(disk("file='/a'")), config)
    assert domain_resources(domain(disk("file='/a'", extra="<shareable/>")), config) == []
    assert domain_resources(domain(disk("file='/a'", extra="<readonly/>")), config) == []
    assert len(domain_resources(domain(disk("file='/a'") + LEASE.format("")), config)) == 1
