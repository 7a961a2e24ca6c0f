"""The DAC label of a running guest, and which files it lets us give away."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from supervisor.workers.qemu.start.live_xml import (
    allows_relabel,
    fill_dac_label,
    static_dac_label,
)


def domain(seclabel: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os><type arch='x86_64' "
        f"machine='pc'>hvm</type></os>{seclabel}</domain>"
    )


def labels(seclabel: str = "", *, by_default: bool = True) -> list[str]:
    """The live XML's lines of labels."""
    running = domain(seclabel)
    fill_dac_label(running, 5, 6, by_default=by_default)
    lines = [line.strip() for line in format_domain(running, live=True).splitlines()]
    return [line for line in lines if "label" in line and not line.startswith("</")]


DYNAMIC = [
    "<seclabel type='dynamic' model='dac' relabel='yes'>",
    "<label>+5:+6</label>",
    "<imagelabel>+5:+6</imagelabel>",
]


def test_a_guest_has_the_label_of_its_user_unless_the_host_confines_none_by_default() -> None:
    assert labels() == DYNAMIC
    assert labels(by_default=False) == []
    assert labels("<seclabel type='dynamic' model='dac'/>", by_default=False) == DYNAMIC


@pytest.mark.parametrize("relabel", ["yes", "no"])
def test_a_static_label_is_the_images_too_where_they_are_relabelled(relabel: str) -> None:
    seclabel = f"<seclabel type='static' model='dac' relabel='{relabel}'><label>7:8</label>"
    found = labels(f"{seclabel}</seclabel>")
    assert ("<imagelabel>7:8</imagelabel>" in found) == (relabel == "yes")
    assert static_dac_label(domain(f"{seclabel}</seclabel>")) == "7:8"
    assert allows_relabel(domain(f"{seclabel}</seclabel>")) == (relabel == "yes")


def test_no_label_leaves_files_as_they_are() -> None:
    assert not allows_relabel(domain("<seclabel type='none' model='dac'/>"))
    assert labels("<seclabel type='none' model='dac'/>") == ["<seclabel type='none' model='dac'/>"]
    assert allows_relabel(domain("<seclabel type='none'/>"))
    assert allows_relabel(domain())
