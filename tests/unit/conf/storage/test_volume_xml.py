"""Documents of volumes: read, refused and written as by libvirt 9.0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.storage import (
    BackingStore,
    PoolType,
    Volume,
    VolumeType,
    check_new_volume,
    format_volume,
    parse_volume,
    volume_type,
)
from conf.storage.attributes import timestamp
from conf.storage.credentials import ENCRYPTION_FORMATS
from conf.storage.formats import FILE_FORMATS

SIZE = "<capacity unit='MiB'>1</capacity>"
MIB = 1024 * 1024


def volume(inside: str = "", target: str = "", size: str = SIZE) -> str:
    return f"<volume><name>v</name>{size}{inside}<target>{target}</target></volume>"


def luks(inside: str = "", form: str = "luks") -> str:
    secret = "<secret type='passphrase' usage='u'/>"
    return volume(target=f"<encryption format='{form}'>{secret}{inside}</encryption>")


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        ("<pool/>", "xml", "expecting root element of 'volume'"),
        ("x", "xml_detail", "Start tag expected"),
        (f"<volume>{SIZE}</volume>", "xml", "missing volume name"),
        (f"<volume><name/>{SIZE}</volume>", "xml", "missing volume name"),
        (volume(size=""), "xml", "missing capacity"),
        (volume(size="<capacity>zz</capacity>"), "xml", "malformed capacity"),
        (volume(size="<capacity>-5</capacity>"), "xml", "malformed capacity"),
        (volume("<allocation>x</allocation>"), "xml", "malformed capacity"),
        (volume(size="<capacity unit='QQ'>5</capacity>"), "invalid_arg", "unknown suffix 'QQ'"),
        (volume(size="<capacity unit='EiB'>15</capacity>"), "overflow", "too large: 15EiB"),
        (volume(size=f"<capacity>{2**63}</capacity>"), "overflow", "too large"),
        (volume(size=f"<capacity>{'9' * 5000}</capacity>"), "xml", "malformed capacity"),
        (f"<volume type='zz'><name>v</name>{SIZE}</volume>", "config_unsupported", "zz"),
        (volume(target="<format type='zz'/>"), "config_unsupported", "volume format type zz"),
        (volume(target="<format type='luks'/>"), "config_unsupported", "format type luks"),
        (volume(target="<format type='none'/>"), "config_unsupported", "format type none"),
        (
            volume("<backingStore><path>/b</path><format type='auto'/></backingStore>"),
            "config_unsupported",
            "volume format type auto",
        ),
        (volume(target="<compat>2</compat>"), "xml", "forbidden characters in 'compat'"),
        (volume(target="<compat>a.b</compat>"), "xml", "forbidden characters in 'compat'"),
        (
            volume(target="<features><bogus/></features>"),
            "config_unsupported",
            "unsupported feature bogus",
        ),
        (volume(target="<clusterSize>zz</clusterSize>"), "xml", "clusterSize"),
        (volume(target="<permissions><mode>0999</mode></permissions>"), "xml", "octal mode"),
        (volume(target="<encryption/>"), "xml", "unknown volume encryption format"),
        (luks(form="zz"), "config_unsupported", "encryption format type zz"),
        (luks("<secret type='zz' usage='u'/>"), "config_unsupported", "secret type zz"),
        (luks("<secret usage='u'/>"), "xml", "unknown volume encryption secret type"),
        (luks("<secret type='passphrase'/>"), "xml", "missing secret uuid or usage"),
        (luks("<cipher size='1'/>"), "xml", "cipher info missing 'name'"),
        (luks("<cipher name='aes' size='zz'/>"), "xml", "size"),
        (luks("<ivgen/>"), "xml", "missing ivgen info name"),
    ],
)
def test_a_document_that_cannot_be_is_refused(document: str, kind: str, words: str) -> None:
    with pytest.raises(ConfError) as refused:
        parse_volume(document, PoolType.DIR)
    assert refused.value.kind == kind
    assert words in refused.value.message


def test_sizes_are_bytes_whatever_their_unit() -> None:
    made = parse_volume(volume("<allocation unit='KB'>3</allocation>"), PoolType.DIR)
    assert (made.capacity, made.allocation, made.physical) == (MIB, 3000, None)
    made.capacity, made.physical = 5, 0
    written = format_volume(made)
    assert "<capacity unit='bytes'>5</capacity>" in written
    assert "physical" not in written  # stock says nothing of an empty file either
    bare = parse_volume("<volume><name>v</name><capacity>7</capacity></volume>", PoolType.DIR)
    assert (bare.capacity, bare.allocation) == (7, None)


def test_a_copy_or_a_volume_with_a_backing_store_needs_no_capacity() -> None:
    without = volume(size="")
    assert parse_volume(without, PoolType.DIR, capacity_from_elsewhere=True).capacity is None
    below = "<backingStore><path>/b</path></backingStore>"
    made = parse_volume(volume(below, size=""), PoolType.DIR)
    assert made.backing_store == BackingStore(path="/b", format="raw")
    assert parse_volume(volume("<backingStore/>"), PoolType.DIR).backing_store is None


@pytest.mark.parametrize(
    ("pool", "form", "completed", "kind"),
    [
        (PoolType.DIR, None, "raw", VolumeType.FILE),
        (PoolType.NETFS, "qcow2", "qcow2", VolumeType.FILE),
        (PoolType.DIR, "dir", "dir", VolumeType.DIR),
        (PoolType.DIR, "ploop", "ploop", VolumeType.PLOOP),
        (PoolType.GLUSTER, "dir", "dir", VolumeType.NETDIR),
        (PoolType.DISK, None, "none", VolumeType.BLOCK),
        (PoolType.DISK, "extended", "extended", VolumeType.BLOCK),
        (PoolType.LOGICAL, "qcow2", None, VolumeType.BLOCK),
        (PoolType.RBD, None, "raw", VolumeType.NETWORK),
    ],
)
def test_formats_are_those_of_the_pool(
    pool: PoolType, form: str | None, completed: str | None, kind: VolumeType
) -> None:
    target = f"<format type='{form}'/>" if form else ""
    made = parse_volume(volume(target=target), pool)
    assert (made.target.format, volume_type(pool, completed)) == (completed, kind)


def test_features_need_the_newer_qcow2() -> None:
    made = parse_volume(volume(target="<features><extended_l2/></features>"), PoolType.DIR)
    assert (made.target.compat, made.target.extended_l2, made.target.lazy_refcounts) == (
        "1.1",
        True,
        False,
    )
    assert "<features>\n      <extended_l2/>\n    </features>" in format_volume(made)


def new(target: str, more: str = "", name: str = "v", pool: PoolType = PoolType.DIR) -> Volume:
    document = f"<volume><name>{name}</name>{SIZE}<target>{target}</target>{more}</volume>"
    made = parse_volume(document, pool)
    check_new_volume(made, pool)
    return made


@pytest.mark.parametrize("name", ["a/b", "..", ".", "x" * 256, "é" * 128])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfError) as refused:
        new("", name=name)
    assert refused.value.kind == "operation_invalid"
    assert new("", name=name, pool=PoolType.ISCSI).name == name  # no file is made there


BELOW = "<backingStore><path>/b</path></backingStore>"


@pytest.mark.parametrize(
    ("target", "more", "kind"),
    [
        ("<format type='raw'/>", BELOW, "no_support"),
        ("<format type='vdi'/>", BELOW, "internal"),
        ("<format type='iso'/>", BELOW, "config_unsupported"),
        ("<format type='dir'/>", BELOW, "no_support"),
        ("<format type='vmdk'/><compat>1.1</compat>", "", "config_unsupported"),
        ("<format type='vmdk'/><features/>", "", "config_unsupported"),
        (
            "<format type='qcow2'/><compat>0.10</compat><features><lazy_refcounts/></features>",
            "",
            "config_unsupported",
        ),
        (
            "<format type='qcow2'/><compat>0.10</compat><features><extended_l2/></features>",
            "",
            "config_unsupported",
        ),
        ("<encryption format='luks'/>", "", "invalid_arg"),
        ("<format type='vmdk'/><encryption format='luks'/>", "", "config_unsupported"),
        ("<format type='qcow2'/><encryption format='luks2'/>", "", "config_unsupported"),
    ],
)
def test_what_a_format_does_not_have_is_refused(target: str, more: str, kind: str) -> None:
    with pytest.raises(ConfError) as refused:
        new(target, more)
    assert refused.value.kind == kind


def test_a_qcow2_may_have_all_of_it() -> None:
    secret = "<secret type='passphrase' usage='u'/>"
    made = new(
        f"<format type='qcow2'/><encryption format='luks'>{secret}<cipher name='aes' size='256' "
        "mode='cbc' hash='sha256'/><ivgen name='plain64' hash='sha256'/></encryption>"
        "<clusterSize unit='KiB'>64</clusterSize><nocow/>",
        BELOW,
    )
    assert (made.target.cluster_size, made.target.nocow) == (65536, True)
    written = format_volume(made)
    assert "<clusterSize unit='B'>65536</clusterSize>" in written
    assert "<cipher name='aes' size='256' mode='cbc' hash='sha256'/>" in written
    assert format_volume(parse_volume(written, PoolType.DIR)) == written


def test_times_have_nine_digits_or_none() -> None:
    assert timestamp(1341933637_273190990) == "1341933637.273190990"
    assert timestamp(5 * 10**9) == "5"
    assert timestamp(1) == "0.000000001"


TARGETS = st.builds(
    lambda form, mode, compat, cluster, secret: (
        f"<format type='{form}'/><permissions><mode>{mode}</mode></permissions>"
        f"<compat>{compat}</compat><clusterSize>{cluster}</clusterSize>"
        f"<encryption format='{secret}'/>"
    ),
    st.sampled_from(FILE_FORMATS),
    st.sampled_from(["", "0644", "9", "07777"]),
    st.sampled_from(["0.10", "1.1", "", "x"]),
    st.sampled_from(["1", "0x10", "", "-1", "9" * 30]),
    st.sampled_from(["", *ENCRYPTION_FORMATS]),
)


@given(st.sampled_from(list(PoolType)), TARGETS, st.text("0123456789aé /.-", max_size=6))
def test_any_document_is_refused_or_comes_back_as_it_was_written(
    pool: PoolType, target: str, name: str
) -> None:
    document = f"<volume><name>{name}</name>{SIZE}<target>{target}</target></volume>"
    try:
        made = parse_volume(document, pool)
        check_new_volume(made, pool)
    except ConfError:
        return
    written = format_volume(made)
    assert format_volume(parse_volume(written, pool)) == written


def test_empty_sizes_are_absent() -> None:
    volume = parse_volume(
        "<volume><name>v</name><capacity>10</capacity><allocation unit='G'/><physical/>"
        "<target><clusterSize/></target></volume>",
        PoolType.DIR,
    )
    assert (volume.allocation, volume.physical, volume.target.cluster_size) == (None, None, None)


def test_empty_capacity_is_missing() -> None:
    with pytest.raises(ConfError, match="missing capacity element"):
        parse_volume("<volume><name>v</name><capacity/></volume>", PoolType.DIR)


@pytest.mark.parametrize("element", ["owner", "group"])
def test_empty_owner_is_malformed(element: str) -> None:
    with pytest.raises(ConfError, match=f"malformed {element} element"):
        parse_volume(
            "<volume><name>v</name><capacity>10</capacity><target><permissions>"
            f"<{element}/></permissions></target></volume>",
            PoolType.DIR,
        )


def test_parts_of_the_target_come_from_the_first_target_with_them() -> None:
    second = "</target><target><format type='iso'/><compat>0.10</compat>"
    made = parse_volume(volume(target=f"<format type='qcow2'/>{second}"), PoolType.DIR)
    assert (made.target.format, made.target.compat) == ("qcow2", "0.10")


def test_empty_format_is_the_usual_one() -> None:
    assert parse_volume(volume(target="<format type=''/>"), PoolType.DIR).target.format == "raw"


def test_raw_volume_may_name_a_compat_level() -> None:
    assert new("<compat>1.1</compat>").target.compat == "1.1"
