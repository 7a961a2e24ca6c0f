"""Command lines for LVM, parted and iscsiadm, and the parsing of their output."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.storage import Volume, parse_volume
from conf.storage.formats import PoolType
from conf.storage.source import PoolHost
from rpc.errors import VirError
from supervisor.stord.backends import lvm, open_iscsi, partitions

MIB = 1 << 20
DOS = """BYT;
/dev/vdc:67108864B:virtblk:512:512:msdos:Virtio Block: Device:;
1:16384B:1048575B:1032192B:free;
1:1048576B:10485759B:9437184B:::;
2:10485760B:41943039B:31457280B:::lba;
1:10502144B:12517375B:2015232B:free;
5:12582912B:20971519B:8388608B:::;
1:20971520B:41943039B:20971520B:free;
1:41943040B:67108863B:25165824B:free;
"""


def volume(xml: str, kind: PoolType) -> Volume:
    return parse_volume(f"<volume><name>v</name>{xml}</volume>", kind)


def test_a_volume_that_is_larger_than_its_space_is_sparse() -> None:
    wanted = volume(
        "<capacity unit='M'>64</capacity><allocation unit='M'>8</allocation>", PoolType.LOGICAL
    )
    words = lvm.plan_lvcreate("vg", wanted)
    assert words[words.index("--virtualsize") + 1] == "65536k"
    assert words[words.index("-L") + 1] == "8192k"
    assert words[-2:] == ["--", "vg"]
    assert lvm.needs_snapshot_target(wanted)


def test_a_snapshot_names_its_origin() -> None:
    wanted = volume(
        "<capacity unit='M'>8</capacity><backingStore><path>/dev/vg/o</path></backingStore>",
        PoolType.LOGICAL,
    )
    assert lvm.plan_lvcreate("vg", wanted)[-3:] == ["-s", "--", "/dev/vg/o"]
    assert lvm.needs_snapshot_target(wanted)


def test_a_whole_volume_needs_no_target_for_snapshots() -> None:
    wanted = volume("<capacity unit='M'>8</capacity>", PoolType.LOGICAL)
    assert not lvm.needs_snapshot_target(wanted)


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "ä", "$(x)"])
def test_a_name_that_lvm_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(VirError, match="no valid name of a logical volume"):
        lvm.check_name(name)


def test_volumes_are_read_with_their_extents_and_origins() -> None:
    base = {"lv_uuid": "u", "lv_size": "8388608", "vg_extent_size": "4194304"}
    lines = [
        {**base, "lv_name": "one", "lv_attr": "-wi-a-----", "seg_size": "8388608",
         "devices": "/dev/vda(2),/dev/vdb(0)"},
        {**base, "lv_name": "snap", "lv_attr": "swi-a-s---", "origin": "one",
         "seg_size": "8388608", "devices": "/dev/vda(9)"},
        {**base, "lv_name": "off", "lv_attr": "-wi-------", "devices": ""},
        {**base, "lv_name": "pool", "lv_attr": "twi-a-tz--", "devices": "pool_tdata(0)"},
    ]  # fmt: skip
    one, snap = lvm.read_volumes(json.dumps({"report": [{"seg": lines}]}), "vg")
    assert [(part.device, part.start, part.end) for part in one.extents] == [
        ("/dev/vda", 8 * MIB, 12 * MIB),
        ("/dev/vdb", 0, 4 * MIB),
    ]
    assert snap.backing is not None
    assert snap.backing.path == "/dev/vg/one"


@given(st.text(max_size=200))
def test_whatever_lvm_says_is_read_or_refused(text: str) -> None:
    for read in (lvm.read_group, lvm.read_devices, lambda said: lvm.read_volumes(said, "vg")):
        with pytest.raises(VirError):
            read(text)


def test_a_table_is_read_with_its_extended_partition() -> None:
    table = partitions.read_table(DOS)
    assert (table.label, table.size) == ("dos", 64 * MIB)
    assert [(part.number, part.content) for part in table.partitions] == [
        (1, ""), (2, "extended"), (5, ""),
    ]  # fmt: skip
    assert len(table.free) == 4


@pytest.mark.parametrize(
    ("size", "kind", "start"), [(4, "logical", 21 * MIB), (19, "logical", 21 * MIB)]
)
def test_a_partition_goes_where_it_fits(size: int, kind: str, start: int) -> None:
    wanted = volume(f"<capacity unit='M'>{size}</capacity>", PoolType.DISK)
    (words,) = partitions.plan_create("/dev/vdc", partitions.read_table(DOS), wanted)
    assert words[4] == kind
    assert words[-2:] == [f"{start}B", f"{start + size * MIB - 1}B"]


def test_what_fits_nowhere_is_refused() -> None:
    wanted = volume("<capacity unit='M'>20</capacity>", PoolType.DISK)
    with pytest.raises(VirError, match="no large enough free extent"):
        partitions.plan_create("/dev/vdc", partitions.read_table(DOS), wanted)
    extended = volume(
        "<capacity unit='M'>1</capacity><target><format type='extended'/></target>", PoolType.DISK
    )
    with pytest.raises(VirError, match="already exists"):
        partitions.plan_create("/dev/vdc", partitions.read_table(DOS), extended)


@given(st.text(max_size=200))
def test_whatever_parted_says_is_read_or_refused(text: str) -> None:
    with pytest.raises(VirError):
        partitions.read_table(text)


def test_a_session_and_targets_are_read() -> None:
    said = "tcp: [3] 10.0.0.1:3260,1 iqn.x:one (non-flash)\ntcp: [4] 10.0.0.1:3260,1 iqn.x:two\n"
    assert open_iscsi.read_session(said, "iqn.x:two") == "4"
    assert open_iscsi.read_session(said, "iqn.x:three") == ""
    found = open_iscsi.read_targets("10.0.0.1:3260,1 iqn.x:one\n", PoolHost(name="10.0.0.1"))
    assert [source.devices[0].path for source in found] == ["iqn.x:one"]
    assert open_iscsi.lun("ip-10.0.0.1:3260-iscsi-iqn.x:one-lun-7", "iqn.x:one") == 7
    assert open_iscsi.lun("ip-10.0.0.1:3260-iscsi-iqn.x:one-lun-7-part1", "iqn.x:one") is None


def test_a_password_replaces_what_a_record_said() -> None:
    record = "# BEGIN RECORD\nnode.session.auth.authmethod = None\nnode.x = 1\n# END RECORD\n"
    changed = open_iscsi.with_chap(record, "me", "secret").splitlines()
    assert changed[0] == "# BEGIN RECORD"
    assert changed[-1] == "# END RECORD"
    assert "node.session.auth.authmethod = CHAP" in changed
    assert "node.session.auth.authmethod = None" not in changed


def test_a_server_with_an_ipv6_address_is_bracketed() -> None:
    assert open_iscsi.portal(PoolHost(name="2001:db8::1")) == "[2001:db8::1]:3260"
    assert open_iscsi.portal(PoolHost(name="server", port=3261)) == "server:3261"
