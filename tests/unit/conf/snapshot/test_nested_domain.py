"""A domain's text inside another document: the same, whichever way it is made."""

from __future__ import annotations

import pytest

from conf.domain import format_domain, parse_domain
from conf.moment.nested_domain import NestedDomain, indented

HEAD = "<name>web</name><memory>1024</memory><os><type>hvm</type></os>"
DISK = (
    "<devices><disk type='file'><source file='/a&#10;b &lt;c&gt;'/><target dev='vda'/></disk>"
    "</devices>"
)
NAMESPACE = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
OWN = "<qemu:commandline><qemu:arg value='-x'/></qemu:commandline>"


@pytest.mark.parametrize(
    ("attributes", "inner", "is_quick"),
    [
        ("", DISK, True),
        ("", "<title>a b</title>" + DISK, True),
        (NAMESPACE, OWN, True),
        ("", "<description>one\n  two</description>", False),
        ("", "<description>&lt;a&gt;\n&lt;b&gt;</description>", False),
        ("", "<metadata><a:b xmlns:a='urn:a'>\n<a:c/>\n</a:b></metadata>", False),
    ],
)
def test_the_text_of_a_definition_is_indented(attributes: str, inner: str, is_quick: bool) -> None:
    domain = parse_domain(f"<domain type='qemu'{attributes}>{HEAD}{inner}</domain>")
    text = format_domain(domain, secure=True)
    assert (indented(text, "inactiveDomain") is not None) == is_quick
    for tag in ("domain", "inactiveDomain"):
        assert NestedDomain.of_text(text, domain, tag).xml == NestedDomain.of(domain, tag).xml
