"""The variable store of a pflash <loader> gets a path in the definition."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.os_defaults import complete_nvram

LOADER = "<loader readonly='yes' type='pflash'>/code.fd</loader>"


@pytest.mark.parametrize(
    ("os", "path"),
    [
        (LOADER, "/d_VARS.fd"),
        (LOADER + "<nvram/>", "/d_VARS.fd"),
        (LOADER + "<nvram template='/vars.fd'/>", "/d_VARS.fd"),
        (LOADER + "<nvram>/mine.fd</nvram>", "/mine.fd"),
        (LOADER + "<nvram type='file'><source file='/mine.fd'/></nvram>", None),
        (LOADER.replace("type=", "stateless='yes' type="), None),
        (LOADER.replace("readonly='yes'", "readonly='no'"), None),
        (LOADER.replace("pflash", "rom"), None),
        ("", None),
    ],
)
def test_nvram_of_a_read_only_pflash_loader_has_a_path(os: str, path: str | None) -> None:
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type arch='x86_64'>hvm</type>{os}</os></domain>"
    )
    complete_nvram(domain.os, "/d_VARS.fd")
    assert (domain.os.nvram.path if domain.os.nvram else None) == path
