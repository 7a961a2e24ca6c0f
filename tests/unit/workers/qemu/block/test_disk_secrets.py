"""Secrets that disks refer to, and the keys under which the argv planner finds them."""

from __future__ import annotations

from conf.domain import Domain, parse_domain
from supervisor.workers.qemu.block.disk_secrets import SecretRef, domain_sources, secret_refs

UUID = "22e1353d-c27e-4d6d-bf15-465053e6ba0b"
LUKS = "<encryption format='luks'><secret type='passphrase' {}/></encryption>"


def domain(devices: str) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def disk(source: str, target: str, below: str = "") -> str:
    return (
        f"<disk type='file' device='disk'><driver type='qcow2'/><source file='/i'>{source}</source>"
        f"{below}<target dev='{target}'/></disk>"
    )


def test_each_secret_is_listed_once_in_the_order_of_the_disks() -> None:
    below = (
        "<backingStore type='file'><format type='raw'/><source file='/b'>"
        + LUKS.format("usage='below'")
        + "</source></backingStore>"
    )
    network = (
        "<disk type='network' device='disk'><source protocol='rbd' name='p/i'><host name='h'/>"
        "<auth username='u'><secret type='ceph' usage='cluster'/></auth></source>"
        "<target dev='vdc'/></disk>"
    )
    named = LUKS.format(f"uuid='{UUID}'")
    found = secret_refs(
        domain_sources(domain(disk(named, "vda", below) + disk(named, "vdb") + network))
    )
    assert found == [
        SecretRef("volume", UUID, None),
        SecretRef("volume", None, "below"),
        SecretRef("ceph", None, "cluster"),
    ]
    assert [secret.key for secret in found] == [UUID, "volume below", "ceph cluster"]


def test_a_disk_without_encryption_refers_to_no_secret() -> None:
    assert secret_refs(domain_sources(domain(disk("", "vda")))) == []
