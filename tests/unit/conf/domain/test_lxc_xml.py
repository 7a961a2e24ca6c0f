"""Documents of containers: as stock libvirt 9.0 has them, and what no container has."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.startable import check_startable
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
    domain = container(devices=f"{ROOT}<console type='pty'/><console/>")
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


UIDS: Final = "<uid start='0' target='5' count='9'/>"
GIDS: Final = "<gid start='0' target='5' count='1'/>"


@pytest.mark.parametrize(
    ("inside", "devices", "kind", "text"),
    [
        (f"<idmap>{UIDS}</idmap>", ROOT, "config_unsupported", "should be mapped both"),
        (f"<idmap><uid start='1' target='5' count='1'/>{GIDS}</idmap>", ROOT, "config_unsupported",
         "map the root user"),
        (f"<idmap><uid start='0' target='4294967296' count='1'/>{GIDS}</idmap>", ROOT, "xml",
         "invalid idmap start/target/count settings"),
        (f"<idmap><uid start='0' count='1'/>{GIDS}</idmap>", ROOT, "xml", "invalid idmap"),
        ("", "<filesystem><target dir='/'/></filesystem>", "no_source", "^/$"),
        ("", "<filesystem><source usage='9'/><source dir='/a'/><target dir='/'/></filesystem>",
         "no_source", "^/$"),
        ("", "<filesystem><source dir='/a'/></filesystem>", "no_target", "^/a$"),
        ("", "<filesystem><source dir='/a'/><target dir=''/></filesystem>", "no_target", "/a"),
        ("", "<filesystem type='ram'><target dir='/r'/></filesystem>", "xml", "'usage' attribute"),
        ("", "<filesystem type='ram'><source usage='much'/><target dir='/r'/></filesystem>", "xml",
         "cannot parse usage 'much'"),
        ("", "<graphics type='vnc'/>", "config_unsupported", "graphics"),
        ("", "<console type='pty'><target type='virtio'/></console>", "config_unsupported",
         "'virtio'"),
        ("", "<hostdev mode='capabilities' type='misc'/>", "xml", "Missing <source> element"),
        ("", "<hostdev mode='capabilities' type='misc'><source/></hostdev>", "xml", "<char>"),
        ("", "<hostdev mode='capabilities' type='usb'><source/></hostdev>", "config_unsupported",
         "unknown host device source address type 'usb'"),
        ("", "<hostdev mode='capabilities'><source/></hostdev>", "xml", "missing source address"),
        ("<lxc:namespace><lxc:shareuts value='x'/></lxc:namespace>", ROOT, "internal",
         "No lxc environment type"),
        ("<lxc:namespace><lxc:shareuts type='host' value='x'/></lxc:namespace>", ROOT, "internal",
         "Unknown LXC namespace source 'host'"),
        ("<lxc:namespace><lxc:shareall/></lxc:namespace>", ROOT, "config_unsupported",
         "unsupported Namespace feature"),
    ],
)  # fmt: skip
def test_what_stock_refuses_is_refused_at_the_definition(
    inside: str, devices: str, kind: str, text: str
) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        container(inside, devices)
    assert refusal.value.kind == kind


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ("", "init binary must be specified"),
        ("<init/>", "init binary must be specified"),
        ("<init>/a</init><initarg/>", "No data supplied for <initarg>"),
        ("<init>/a</init><initenv>x</initenv>", "No name supplied for <initenv>"),
        ("<init>/a</init><initenv name='X'/>", "No value supplied for <initenv name='X'>"),
    ],
)
def test_init_and_its_words_are_required(init: str, text: str) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        container(init=init)
    assert refusal.value.kind == "xml"


@pytest.mark.parametrize(
    ("words", "kind"),
    [("type='qemu'|exe", "invalid_arg"), ("type='lxc'|hvm", "invalid_arg"),
     ("type='lxc'|rom", "config_unsupported"), ("type='lxc'|", "xml")],
)  # fmt: skip
def test_a_container_is_of_type_lxc_and_runs_a_program(words: str, kind: str) -> None:
    type_, _, os = words.partition("|")
    document = (
        f"<domain {type_}><name>c</name><memory>65536</memory>"
        f"<os><type>{os}</type><init>/a</init></os></domain>"
    )
    with pytest.raises(ConfError) as refusal:
        complete_container(parse_domain(document), "x86_64")
    assert refusal.value.kind == kind


@pytest.mark.parametrize(
    ("inside", "devices", "kind", "text"),
    [
        (f"<idmap>{UIDS}<uid start='8' target='50' count='1'/>{GIDS}</idmap>", ROOT,
         "config_unsupported", "overlap at start 8"),
        (f"<idmap><uid start='0' target='4294967290' count='9'/>{GIDS}</idmap>", ROOT,
         "config_unsupported", "exceeds the highest ID"),
        (f"<idmap><uid start='0' target='1' count='0'/>{GIDS}</idmap>", ROOT,
         "config_unsupported", "count 0"),
        ("", f"{ROOT}{ROOT}", "internal", "'/' specified twice"),
        ("", "<filesystem><source dir='/a'/><target dir='b'/></filesystem>", "xml",
         "not an absolute path"),
        ("", "<filesystem><source dir='a'/><target dir='/b'/></filesystem>", "xml", "source 'a'"),
        ("", "<filesystem><source dir=''/><target dir='/b'/></filesystem>", "xml", "source ''"),
        ("", "<filesystem><source dir='/a'/><target dir='/a/../b'/></filesystem>", "xml",
         "goes up"),
        ("", "<filesystem accessmode='mapped'><source dir='/a'/><target dir='/b'/></filesystem>",
         "config_unsupported", "accessmode"),
        ("", "<filesystem type='template'><source name='a'/><target dir='/b'/></filesystem>",
         "config_unsupported", "Cannot mount filesystem type template"),
        ("", "<filesystem type='file'><driver type='path'/><source file='/a'/><target dir='/b'/>"
         "</filesystem>", "config_unsupported", "fs driver path"),
        ("", "<interface type='user'/>", "config_unsupported", "Unsupported network type user"),
        ("", "<console type='null'/>", "config_unsupported", "Only PTY console types"),
        ("<lxc:namespace><lxc:shareuts type='netns' value='x'/></lxc:namespace>", ROOT,
         "invalid_arg", "sharenet"),
        ("<lxc:namespace><lxc:shareuts type='name' value=''/></lxc:namespace>", ROOT,
         "invalid_arg", "nothing to share"),
        ("<features><hap/></features>", ROOT, "config_unsupported", "'hap'"),
    ],
)  # fmt: skip
def test_what_no_container_can_be_started_with_is_defined_and_refused_at_the_start(
    inside: str, devices: str, kind: str, text: str
) -> None:
    domain = container(inside, devices)
    with pytest.raises(ConfError, match=text) as refusal:
        check_startable(domain)
    assert refusal.value.kind == kind


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ("<init>sh</init>", "absolute path inside the container"),
        ("<init>/a</init><initdir>b</initdir>", "init's folder"),
        ("<init>/a</init><initenv name='A=B'>c</initenv>", "name of a variable"),
        ("<init>/a</init><initenv name=''>c</initenv>", "name of a variable"),
    ],
)
def test_an_init_that_cannot_be_executed_is_refused_at_the_start(init: str, text: str) -> None:
    domain = container(init=init)
    with pytest.raises(ConfError, match=text):
        check_startable(domain)


def test_repeated_parts_count_as_stock_counts_them() -> None:
    written = format_domain(
        container(
            f"<idmap>{UIDS}</idmap><idmap>{GIDS}</idmap>"
            "<lxc:namespace><lxc:sharenet type='name' value='a'/></lxc:namespace><lxc:namespace>"
            "<lxc:sharenet type='name' value='b'/><lxc:shareipc type='none' value='b'/>"
            "</lxc:namespace>",
            "<hostdev mode='capabilities' type='misc'><source><block>/dev/b</block></source>"
            "<source><char>/dev/c</char></source><ip address='192.0.2.1'/></hostdev>",
        )
    )
    assert f"{UIDS}\n    {GIDS}" in written
    assert written.count("<lxc:share") == 1
    assert "<lxc:sharenet type='name' value='b'/>" in written
    assert "<source>\n        <char>/dev/c</char>\n      </source>\n    </hostdev>" in written


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
        check_startable(domain)
    except ConfError:
        return
    assert domain.idmap is not None
    for attribute in ("start", "target"):
        spans = sorted((getattr(item, attribute), item.count) for item in domain.idmap.uids)
        ends = [start + count for start, count in spans]
        assert all(a <= b[0] for a, b in zip(ends, spans[1:], strict=False))


def test_an_interface_gets_a_mac_address_that_it_keeps() -> None:
    document = (
        "<domain type='lxc'><name>x</name><memory>1024</memory>"
        "<os><type>exe</type><init>/a</init></os>"
        "<devices><interface type='bridge'><source bridge='b'/></interface></devices></domain>"
    )
    domain = complete_container(
        parse_domain(document), "x86_64", make_mac=lambda: "52:54:00:00:00:07"
    )
    assert domain.devices.interfaces[0].mac == "52:54:00:00:00:07"
    again = complete_container(domain, "x86_64", make_mac=lambda: "52:54:00:00:00:08")
    assert again.devices.interfaces[0].mac == "52:54:00:00:00:07"


def test_an_empty_mac_and_a_console_without_a_target_get_their_own() -> None:
    domain = container(
        devices="<interface type='bridge'><mac/><source bridge='b'/></interface>"
        "<console type='pty'><target type='none'/></console>"
    )
    assert domain.devices.interfaces[0].mac
    assert domain.devices.consoles[0].target_type == "lxc"


@pytest.mark.parametrize(("size", "kib"), [("0", 0), ("9", 1), ("1025", 1), ("4096", 4)])
def test_a_ram_filesystem_is_of_whole_kib_and_never_without_its_limit(size: str, kib: int) -> None:
    ram = (
        f"<filesystem type='ram'><source usage='{size}' units='b'/><target dir='/r'/></filesystem>"
    )
    assert container(devices=ram).devices.filesystems[0].usage == kib


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
