"""Documents of pools: completed, refused and written as by libvirt 9.0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.storage import (
    TRAITS,
    FreeExtent,
    PoolDevice,
    PoolSource,
    PoolType,
    format_capabilities,
    format_pool,
    format_sources,
    parse_pool,
    parse_source,
)
from conf.storage.attributes import clean_path

TARGET = "<target><path>/pool</path></target>"
ISCSI = "<host name='h' port='3260'/><device path='d'/>"


def pool(kind: str, inside: str = "", source: str = "", target: str = TARGET) -> str:
    return f"<pool type='{kind}'><name>p</name>{inside}<source>{source}</source>{target}</pool>"


def netfs(more: str) -> str:
    return pool("netfs", source=f"<host name='h'/><dir path='/x'/>{more}")


def iscsi(auth: str) -> str:
    return pool("iscsi", source=f"{ISCSI}{auth}")


def scsi(adapter: str) -> str:
    return pool("scsi", source=adapter)


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        ("<pool type='bogus'/>", "xml", "bogus"),
        ("<pool><name>p</name></pool>", "xml", "type"),
        ("<volume/>", "xml", "expecting root element of 'pool'"),
        ("garbage", "xml_detail", "Start tag expected"),
        ("<pool type='dir'/>", "xml", "missing pool source name element"),
        (f"<pool type='dir'><name/>{TARGET}</pool>", "xml", "missing pool source name element"),
        (f"<pool type='dir'><name>a/b</name>{TARGET}</pool>", "xml", "cannot contain '/'"),
        (f"<pool type='dir'><name>a\nb</name>{TARGET}</pool>", "xml_detail", "invalid char"),
        (pool("dir", "<uuid>zz</uuid>"), "xml", "malformed uuid"),
        (pool("dir", target=""), "xml", "missing storage pool target path"),
        (pool("mpath", target=""), "xml", "missing storage pool target path"),
        (pool("fs"), "xml", "missing storage pool source device name"),
        (pool("disk"), "xml", "missing storage pool source device name"),
        (pool("fs", source="<device/>"), "xml", "missing storage pool source device path"),
        (pool("rbd", source="<host name='h'/>"), "xml", "'name' is mandatory for RBD pool"),
        (
            pool("fs", "<uuid>x</uuid>", source="<format type='bad'/>"),
            "config_unsupported",
            "unknown pool format type bad",
        ),
        (pool("netfs", "<features><cow state='yes'/></features>"), "no_support", "cow feature"),
        (
            pool("fs", source="<device path='/d'/><format type='bad'/>"),
            "config_unsupported",
            "unknown pool format type bad",
        ),
        (pool("logical", source="<format type='auto'/>"), "config_unsupported", "format type auto"),
        (pool("netfs"), "xml", "missing storage pool source host name"),
        (pool("netfs", source="<host name='h'/>"), "xml", "missing storage pool source path"),
        (pool("netfs", source="<host/><dir path='/'/>"), "xml", "missing storage pool host name"),
        (pool("netfs", source="<host name='h' port='x'/>"), "xml", "port"),
        (
            netfs("<format type='cifs'/><protocol ver='3'/>"),
            "config_unsupported",
            "storage pool protocol ver unsupported for pool type 'cifs'",
        ),
        (iscsi("<auth type='x' username='u'/>"), "config_unsupported", "unknown auth type 'x'"),
        (iscsi("<auth username='u'/>"), "config_unsupported", "missing auth type"),
        (iscsi("<auth type='chap'/>"), "xml", "missing username"),
        (iscsi("<auth type='chap' username='u'/>"), "xml", "Missing <secret> element"),
        (
            iscsi("<auth type='chap' username='u'><secret/></auth>"),
            "xml",
            "missing secret uuid or usage",
        ),
        (
            iscsi("<auth type='chap' username='u'><secret uuid='bad'/></auth>"),
            "xml",
            "invalid secret uuid 'bad'",
        ),
        (
            iscsi("<auth type='chap' username='u'><secret uuid='bad' usage='x'/></auth>"),
            "xml",
            "either secret uuid or usage",
        ),
        (pool("iscsi-direct", source=ISCSI), "config_unsupported", "missing initiator IQN"),
        (pool("dir", "<features><cow state='maybe'/></features>"), "xml", "maybe"),
        (
            pool("disk", "<features><cow state='yes'/></features>", "<device path='/d'/>"),
            "no_support",
            "cow feature",
        ),
        (
            pool("dir", "<refresh><volume allocation='bad'/></refresh>"),
            "config_unsupported",
            "refresh allocation type bad",
        ),
        (pool("scsi"), "xml", "missing storage pool source adapter"),
        (scsi("<adapter type='scsi_host'/>"), "xml", "Either 'name' or 'parent'"),
        (scsi("<adapter type='zz'/>"), "xml", "zz"),
        (scsi("<adapter><parentaddr/></adapter>"), "xml", "unique_id"),
        (scsi("<adapter type='fc_host' wwnn='20000000c9831b4b'/>"), "xml", "'wwnn' and 'wwpn'"),
        (scsi("<adapter type='fc_host' wwnn='zz'/>"), "internal", "Malformed wwn: zz"),
        (
            scsi(
                "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='20000000c9831b4b' "
                "parent_wwnn='20000000c9831b4b'/>"
            ),
            "xml",
            "the parent_wwpn must also be provided",
        ),
        (
            "<pool type='fs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>"
            f"<name>p</name><source><device path='/d'/></source>{TARGET}"
            "<fs:mount_opts><fs:option/></fs:mount_opts></pool>",
            "xml",
            "no fs mount option name",
        ),
    ],
)
def test_a_document_that_cannot_be_is_refused(document: str, kind: str, words: str) -> None:
    with pytest.raises(ConfError) as refused:
        parse_pool(document)
    assert refused.value.kind == kind
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        ("<mode>0999</mode>", "malformed octal mode"),
        ("<mode>01777</mode>", "malformed octal mode"),
        ("<mode>-1</mode>", "malformed octal mode"),
        ("<owner>x</owner>", "malformed owner"),
        ("<owner>0x10</owner>", "malformed owner"),
        ("<owner>-2</owner>", "malformed owner"),
        ("<group>4294967296</group>", "malformed group"),
    ],
)
def test_permissions_that_cannot_be_are_refused(permissions: str, words: str) -> None:
    target = f"<target><path>/p</path><permissions>{permissions}</permissions></target>"
    with pytest.raises(ConfError, match=words) as refused:
        parse_pool(pool("dir", target=target))
    assert refused.value.kind == "xml"


def test_permissions_that_say_nothing_are_left_out() -> None:
    target = "<target><path>/p</path><permissions><mode/><owner>-1</owner></permissions></target>"
    assert "permissions" not in format_pool(parse_pool(pool("dir", target=target)))


def test_a_group_of_volumes_and_its_pool_name_each_other() -> None:
    made = parse_pool("<pool type='logical'><name>vg</name></pool>")
    assert (made.name, made.source.name, made.path) == ("vg", "vg", "/dev/vg")
    other = parse_pool("<pool type='logical'><source><name>vg</name></source></pool>")
    assert (other.name, other.path, other.source.format) == ("vg", "/dev/vg", "lvm2")
    third = parse_pool(pool("logical", source="<name>vg</name>"))
    assert (third.name, third.path) == ("p", "/dev/vg")  # the path in the document does not count


def test_what_means_nothing_for_a_type_is_left_out() -> None:
    source = (
        "<name>n</name><host name='h'/><device path='/d'/><dir path='/d'/><format type='zz'/>"
        "<vendor name='v'/><product name='p'/><initiator><iqn name='q'/></initiator>"
    )
    kept = parse_pool(pool("dir", source=source)).source
    assert kept == PoolSource(vendor="v", product="p")


def test_sizes_and_free_parts_are_never_taken_from_a_document() -> None:
    source = "<device path='/d'><freeExtent start='0' end='5'/></device>"
    sizes = "<capacity unit='GiB'>7</capacity><allocation>x</allocation><available/>"
    made = parse_pool(pool("disk", sizes, source))
    assert (made.capacity, made.allocation, made.available) == (0, 0, 0)
    assert made.source.devices[0].free_extents == []
    made.capacity, made.source.devices[0].free_extents = 9, [FreeExtent(start=1, end=2)]
    written = format_pool(made)
    assert "<capacity unit='bytes'>9</capacity>" in written
    assert "<freeExtent start='1' end='2'/>" in written


def test_options_of_mounting_keep_their_name_space_whatever_it_was_called() -> None:
    document = (
        "<pool type='fs' xmlns:q='http://libvirt.org/schemas/storagepool/fs/1.0'><name>p</name>"
        f"<source><device path='/d'/></source>{TARGET}"
        "<q:mount_opts><q:option name='sync'/></q:mount_opts></pool>"
    )
    written = format_pool(parse_pool(document))
    assert "xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'" in written
    assert "<fs:option name='sync'/>" in written
    again = parse_pool(written)
    assert [option.name for option in again.mount_options] == ["sync"]
    assert format_pool(again) == written


def test_a_pool_without_a_uuid_gets_one() -> None:
    made = parse_pool(pool("dir"), make_uuid=lambda: "6d6f2b2e-56a7-4ba4-8d6e-0e0f3b0d2f11")
    assert made.uuid == "6d6f2b2e-56a7-4ba4-8d6e-0e0f3b0d2f11"
    assert parse_pool(pool("dir")).uuid != parse_pool(pool("dir")).uuid
    bare = parse_pool(pool("dir", "<uuid>6D6F2B2E56A74BA48D6E0E0F3B0D2F11</uuid>"))
    assert bare.uuid == made.uuid


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("///a///b//", "/a/b"), ("//a//b/", "//a/b"), ("///", "/"), ("rel/", "rel"), ("/", "/")],
)
def test_paths_lose_doubled_and_trailing_slashes(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


def test_capabilities_tell_what_works_and_every_format() -> None:
    written = format_capabilities({PoolType.DIR, PoolType.LOGICAL})
    assert written.count("supported='yes'") == 2
    assert written.count("<pool type=") == len(TRAITS) == len(PoolType)
    assert "<defaultFormat type='lvm2'/>" in written
    assert "<value>qcow2</value>" in written


def test_sources_are_written_so_that_a_pool_can_take_them() -> None:
    found = [PoolSource(name="vg", format="lvm2", devices=[PoolDevice(path="/dev/sda")])]
    written = format_sources(found)
    inner = written.removeprefix("<sources>").removesuffix("</sources>\n")
    assert parse_source(inner.strip()) == found[0]
    assert format_sources([]) == "<sources>\n</sources>\n"


WORDS = st.sampled_from(
    ["", "dir", "0", "-1", "0777", "yes", "lvm2", "auto", "chap", "/a/b", "x" * 300, "é", "1e9"]
)
TAGS = st.sampled_from(
    (
        "name", "uuid", "capacity", "source", "target", "path", "permissions", "mode", "owner",
        "host", "device", "dir", "format", "auth", "secret", "adapter", "initiator", "iqn",
        "protocol", "refresh", "volume", "features", "cow", "parentaddr", "address",
    )
)  # fmt: skip
KEYS = st.sampled_from(
    ("type", "name", "path", "port", "username", "uuid", "usage", "ver", "allocation", "state")
)


def elements(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.dictionaries(KEYS, WORDS, max_size=3).map(
        lambda found: "".join(f" {key}='{value}'" for key, value in found.items())
    )
    inside = st.lists(children, max_size=5).map("".join)
    return st.builds(lambda t, a, i: f"<{t}{a}>{i}</{t}>", TAGS, attributes, inside)


@given(st.sampled_from(list(PoolType)), st.recursive(WORDS, elements, max_leaves=12))
def test_any_document_is_refused_or_comes_back_as_it_was_written(
    kind: PoolType, inside: str
) -> None:
    try:
        made = parse_pool(f"<pool type='{kind}'><name>p</name>{inside}{TARGET}</pool>")
    except ConfError:
        return
    written = format_pool(made)
    assert format_pool(parse_pool(written)) == written


def test_parts_of_the_target_come_from_the_first_target_with_them() -> None:
    target = "<target/><target><path>/p</path></target><target><path>/q</path></target>"
    assert parse_pool(pool("dir", target=target)).path == "/p"


@pytest.mark.parametrize("owner", ["-1", "4294967295"])
def test_owner_minus_one_is_no_owner(owner: str) -> None:
    target = f"<target><path>/p</path><permissions><owner>{owner}</owner></permissions></target>"
    assert parse_pool(pool("dir", target=target)).target.permissions is None


def test_empty_attributes_are_absent_or_kept_as_by_libvirt() -> None:
    absent = "<initiator><iqn name=''/></initiator><vendor name=''/><product name=''/>"
    source = parse_pool(pool("iscsi", source=f"<host name=''/><device path=''/>{absent}")).source
    assert (source.initiator, source.vendor, source.product) == (None, None, None)
    assert (source.hosts[0].name, source.devices[0].path) == ("", "")


def server_at(port: str) -> str:
    return pool("iscsi", source=f"<host name='h' port='{port}'/><device path='d'/>")


@pytest.mark.parametrize(
    ("text", "written"), [("010", "10"), (" 7", "7"), ("256", "256"), ("-1", "-1")]
)
def test_the_port_of_a_server_is_decimal(text: str, written: str) -> None:
    assert f"port='{written}'" in format_pool(parse_pool(server_at(text)))


@pytest.mark.parametrize("text", ["0x10", "7 ", "1_0", "٣"])
def test_another_port_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ConfError, match="port"):
        parse_pool(server_at(text))
