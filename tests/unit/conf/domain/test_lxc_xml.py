"""Documents of containers: as stock libvirt 9.0 has them, and what no container has."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from conf.errors import ConfError
from tests.paths import SHARED
from tests.unit.conf.domain import domain_corpus

CORPUS: Final = SHARED / "corpus/domain-lxc.jsonl"
ROOT: Final = "<filesystem><source dir='/srv/c'/><target dir='/'/></filesystem>"


def container(inside: str = "", devices: str = ROOT, init: str = "<init>/bin/sh</init>") -> Domain:
    return complete_container(
        parse_domain(
            "<domain type='lxc' xmlns:lxc='http://libvirt.org/schemas/domain/lxc/1.0'>"
            "<name>c</name><memory unit='MiB'>64</memory>"
            f"<os><type>exe</type>{init}</os>{inside}<devices>{devices}</devices></domain>"
        ),
        "x86_64",
    )


@pytest.mark.skipif(not CORPUS.exists(), reason=f"{CORPUS}: no measured answers here")
def test_every_measured_lxc_xml_is_formatted_as_by_stock_libvirt() -> None:
    for line in CORPUS.read_text().splitlines():
        case = json.loads(line)
        own = format_domain(complete_container(parse_domain(case["input"]), "x86_64"))
        assert domain_corpus.unlike(case["output"], own) == [], case["name"]


def test_defaults_of_a_container_are_filled_in() -> None:
    domain = container(devices=f"{ROOT}<console type='pty'/><console/>", init="")
    assert domain.os.init == "/sbin/init"
    assert (domain.on_reboot, domain.on_crash) == ("restart", "destroy")
    consoles = [(console.target_type, console.target_port) for console in domain.devices.consoles]
    assert consoles == [("lxc", 0), ("lxc", 1)]
    again = complete_container(parse_domain(format_domain(domain)), "x86_64")
    assert format_domain(again) == format_domain(domain)


def test_capabilities_variables_and_limits_are_read_and_written() -> None:
    domain = container(
        "<features><privnet/><capabilities policy='deny'><mknod state='on'/>"
        "<sys_time state='off'/></capabilities></features>",
        "<filesystem type='bind'><source dir='/a'/><target dir='/b'/>"
        "<space_hard_limit unit='KiB'>4</space_hard_limit></filesystem>",
        "<init>/bin/sh</init><initarg>-c</initarg><initenv name='A'>b c</initenv>"
        "<initdir>/tmp</initdir><inituser>1</inituser><initgroup>2</initgroup>",
    )
    assert domain.features is not None
    assert domain.features.capabilities is not None
    assert domain.features.capabilities.states() == {"mknod": True, "sys_time": False}
    written = format_domain(domain)
    assert "<initenv name='A'>b c</initenv>" in written
    assert "<space_hard_limit unit='bytes'>4096</space_hard_limit>" in written
    assert format_domain(parse_domain(written)) == written


@pytest.mark.parametrize(
    ("inside", "devices", "kind", "text"),
    [
        (
            "<idmap><uid start='1' target='5' count='1'/></idmap>",
            ROOT,
            "config_unsupported",
            "both",
        ),
        (
            "<idmap><uid start='1' target='5' count='1'/><gid start='0' target='5' count='1'/>"
            "</idmap>",
            ROOT,
            "config_unsupported",
            "root user",
        ),
        (
            "<idmap><uid start='0' target='5' count='9'/><uid start='8' target='50' count='1'/>"
            "<gid start='0' target='5' count='1'/></idmap>",
            ROOT,
            "config_unsupported",
            "overlap at start 8",
        ),
        (
            "<idmap><uid start='0' target='4294967290' count='9'/>"
            "<gid start='0' target='5' count='1'/></idmap>",
            ROOT,
            "config_unsupported",
            "exceeds the highest ID",
        ),
        ("", f"{ROOT}{ROOT}", "internal", "'/' specified twice"),
        ("", "<filesystem><target dir='/'/></filesystem>", "no_source", "/"),
        (
            "",
            "<filesystem><source dir='/a'/><target dir='b'/></filesystem>",
            "xml",
            "absolute path",
        ),
        (
            "",
            "<filesystem><source dir='/a'/><target dir='/a/../b'/></filesystem>",
            "xml",
            "go up",
        ),
        ("", "<filesystem type='ram'><target dir='/r'/></filesystem>", "xml", "usage"),
        ("", "<graphics type='vnc'/>", "config_unsupported", "graphics"),
        ("", "<interface type='user'/>", "config_unsupported", "user"),
        ("", "<console type='null'/>", "config_unsupported", "null"),
        ("", "<hostdev mode='capabilities' type='misc'/>", "xml", "<char>"),
        (
            "<lxc:namespace><lxc:shareuts type='netns' value='x'/></lxc:namespace>",
            ROOT,
            "invalid_arg",
            "sharenet",
        ),
        ("<features><hap/></features>", ROOT, "config_unsupported", "'hap'"),
    ],
)
def test_elements_that_no_container_has_are_refused(
    inside: str, devices: str, kind: str, text: str
) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        container(inside, devices)
    assert refusal.value.kind == kind


@given(
    st.lists(
        st.tuples(*(st.integers(0, 2**33) for _ in range(3))), min_size=1, max_size=4, unique=True
    )
)
def test_an_idmap_is_one_to_one_or_refused(ranges: list[tuple[int, int, int]]) -> None:
    values = "".join(f"<uid start='{a}' target='{b}' count='{c}'/>" for a, b, c in ranges)
    gids = "<gid start='0' target='9' count='1'/>"
    try:
        domain = container(f"<idmap>{values}{gids}</idmap>")
    except ConfError:
        return
    assert domain.idmap is not None
    for attribute in ("start", "target"):
        spans = sorted((getattr(item, attribute), item.count) for item in domain.idmap.uids)
        ends = [start + count for start, count in spans]
        assert all(a <= b[0] for a, b in zip(ends, spans[1:], strict=False))


def test_an_interface_gets_a_mac_address_that_it_keeps() -> None:
    document = (
        "<domain type='lxc'><name>x</name><memory>1024</memory><os><type>exe</type></os>"
        "<devices><interface type='bridge'><source bridge='b'/></interface></devices></domain>"
    )
    domain = complete_container(
        parse_domain(document), "x86_64", make_mac=lambda: "52:54:00:00:00:07"
    )
    assert domain.devices.interfaces[0].mac == "52:54:00:00:00:07"
    again = complete_container(domain, "x86_64", make_mac=lambda: "52:54:00:00:00:08")
    assert again.devices.interfaces[0].mac == "52:54:00:00:00:07"


def test_consoles_are_numbered_in_their_order() -> None:
    consoles = "<console type='pty'><target port='7'/></console><console type='pty'/>"
    domain = container(devices=f"{ROOT}{consoles}")
    assert [console.target_port for console in domain.devices.consoles] == [0, 1]


def test_filesystem_has_the_source_of_its_type() -> None:
    written = format_domain(
        container(
            devices="<filesystem><source dir='/a' usage='9' file='/i'/><target dir='/'/>"
            "</filesystem><filesystem type='ram'><source dir='/a' usage='9'/>"
            "<target dir='/r'/></filesystem>"
        )
    )
    assert "<source dir='/a'/>" in written
    assert "<source usage='9' units='KiB'/>" in written
