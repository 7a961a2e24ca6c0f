"""Two pools are never made of the same storage."""

from __future__ import annotations

import pytest

from conf.storage import Pool, parse_pool, same_source

EXPORT = "<host name='h'/><dir path='/x'/>"
LUN = "<host name='h'/><device path='d'/>"
INITIATOR = "<initiator><iqn name='q'/></initiator>"
WWN = "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='20000000c9831b4{}'/>"
AT = "<adapter><parentaddr unique_id='{}'><address slot='0x1f'/></parentaddr></adapter>"


def pool(kind: str, source: str, path: str = "/p") -> Pool:
    target = f"<target><path>{path}</path></target>"
    return parse_pool(f"<pool type='{kind}'><name>n</name><source>{source}</source>{target}</pool>")


def disks(*paths: str) -> str:
    return "".join(f"<device path='{path}'/>" for path in paths)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pool("dir", ""), pool("dir", "")),
        (pool("dir", "", "/p//q"), pool("dir", "", "/p/q/")),
        (pool("fs", disks("/d")), pool("fs", disks("/d"), "/elsewhere")),
        (pool("fs", disks("/d")), pool("disk", disks("/d"))),
        (pool("fs", disks("/d")), pool("logical", disks("/c", "/d"))),
        (pool("logical", disks("/d", "/e")), pool("logical", disks("/e", "/f"))),
        (pool("netfs", EXPORT), pool("netfs", f"{EXPORT}<format type='nfs'/>", "/elsewhere")),
        (pool("iscsi", LUN), pool("iscsi", LUN)),
        (pool("iscsi", LUN + INITIATOR), pool("iscsi", LUN + INITIATOR)),
        (pool("iscsi", LUN), pool("iscsi", LUN.replace("'h'", "'h' port='3'"))),
        (pool("mpath", ""), pool("mpath", "", "/elsewhere")),
        (
            pool("scsi", "<adapter name='scsi_host3'/>"),
            pool("scsi", "<adapter type='scsi_host' name='host3'/>"),
        ),
        (pool("scsi", WWN.format("b")), pool("scsi", WWN.format("b"))),
        (pool("scsi", AT.format(5)), pool("scsi", AT.format(5))),
        (pool("gluster", f"<name>v</name>{EXPORT}"), pool("gluster", f"<name>v</name>{EXPORT}")),
    ],
)
def test_the_same_storage_is_recognized_either_way_round(one: Pool, other: Pool) -> None:
    assert same_source(one, other)
    assert same_source(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pool("dir", ""), pool("dir", "", "/q")),
        (pool("dir", ""), pool("fs", disks("/d"))),
        (pool("fs", disks("/d")), pool("fs", disks("/e"))),
        (pool("logical", "<name>v</name>"), pool("logical", "<name>v</name>")),
        (pool("netfs", EXPORT), pool("netfs", EXPORT.replace("'h'", "'g'"))),
        (pool("netfs", EXPORT), pool("netfs", EXPORT.replace("'h'", "'h' port='5'"))),
        (pool("iscsi", LUN), pool("iscsi", LUN + INITIATOR)),
        (pool("iscsi", LUN), pool("iscsi", LUN.replace("'d'", "'e'"))),
        (pool("scsi", WWN.format("b")), pool("scsi", WWN.format("c"))),
        (pool("scsi", WWN.format("b")), pool("scsi", "<adapter name='host3'/>")),
        (pool("scsi", AT.format(5)), pool("scsi", AT.format(6))),
        (
            pool("rbd", "<host name='h'/><name>a</name>"),
            pool("rbd", "<host name='h'/><name>a</name>"),
        ),
    ],
)
def test_different_storage_is_left_in_peace(one: Pool, other: Pool) -> None:
    assert not same_source(one, other)
    assert not same_source(other, one)
