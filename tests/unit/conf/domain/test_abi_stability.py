"""What a saved guest may go on with: the same machine, with other sources and titles."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.abi_stability import check_abi_stability
from conf.errors import ConfError

DISK = "<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>"
XML = (
    "<domain type='qemu'><name>web</name><memory>65536</memory><vcpu>2</vcpu>"
    "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>" + DISK + "</devices></domain>"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [("/a", "/b"), ("<memory", "<title>t</title><memory"), (DISK, DISK.replace("file=", "file ="))],
)
def test_what_the_guest_does_not_see_may_differ(old: str, new: str) -> None:
    check_abi_stability(parse_domain(XML), parse_domain(XML.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (">web<", ">mail<", "Target domain name 'mail' does not match source 'web'"),
        ("65536", "131072", "Target domain max memory 131072 does not match source 65536"),
        ("'pc'", "'q35'", "Target domain machine type q35 does not match source pc"),
        (">2<", ">3<", "Target domain vCPU max 3 does not match source 2"),
        (DISK, "", "Target domain disk count 0 does not match source 1"),
        ("'vda'", "'vdb'", "Target disk vdb does not match source vda"),
        ("</os>", "</os><cpu><model>Nehalem</model></cpu>", "Target CPU does not match source"),
    ],
)
def test_another_machine_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        check_abi_stability(parse_domain(XML), parse_domain(XML.replace(old, new)))
    assert refused.value.kind == "config_unsupported"
