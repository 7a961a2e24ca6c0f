"""Elements that are not implemented refuse the start, each named with what to do."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from supervisor.workers.qemu.start import unsupported
from supervisor.workers.qemu.start.unsupported import check_supported, unsupported_elements


def domain(inner: str = "", devices: str = "", os: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu' xmlns:lxc='http://libvirt.org/schemas/domain/lxc/1.0'><name>d</name>"
        f"<memory>1024</memory><vcpu>2</vcpu><os><type arch='x86_64'>hvm</type>{os}</os>{inner}"
        f"<devices>{devices}</devices></domain>"
    )


def test_an_ordinary_domain_is_supported() -> None:
    plain = domain(devices="<disk type='file'><source file='/i'/><target dev='vda'/></disk>")
    assert list(unsupported_elements(plain)) == []
    check_supported(plain)


@pytest.mark.parametrize(
    ("xml", "element", "remedy"),
    [
        ({"inner": "<launchSecurity type='s390-pv'/>"}, "<launchSecurity>", "remove"),
        ({"inner": "<features><htm state='on'/></features>"}, "<htm> in <features>", "remove"),
        ({"os": "<init>/sbin/init</init>"}, "<init> in <os>", "containers"),
        ({"inner": "<seclabel type='dynamic' model='selinux'/>"}, "model='selinux'", "dac"),
        (
            {
                "devices": "<disk type='file'><source file='/i'/><target dev='vda'/>"
                "<transient/></disk>"
            },
            "<transient/> of disk 'vda'",
            "remove",
        ),
    ],
)
def test_an_element_that_is_not_implemented_is_named(
    xml: dict[str, str], element: str, remedy: str
) -> None:
    with pytest.raises(ConfError) as refused:
        check_supported(domain(**xml))
    assert refused.value.kind == "config_unsupported"
    assert element in str(refused.value)
    assert remedy in str(refused.value)


def test_no_two_rules_of_a_table_name_the_same_element() -> None:
    tables = (unsupported.DOMAIN, unsupported.DISK, unsupported.INTERFACE, unsupported.HOSTDEV)
    for table in tables:
        names = [rule.element for rule in table if isinstance(rule.element, str)]
        assert len(names) == len(set(names))
