"""Two pools on the same storage."""

from __future__ import annotations

import pytest

from conf.storage import Pool, parse_pool
from rpc.errors import ErrorCode, VirError
from supervisor.stord.source_conflicts import refuse_conflict


def pool(name: str, kind: str, source: str = "", path: str = "/mnt") -> Pool:
    return parse_pool(
        f"<pool type='{kind}'><name>{name}</name><source>{source}</source>"
        f"<target><path>{path}</path></target></pool>"
    )


NFS = "<host name='{}'/><dir path='/x'/>"


@pytest.mark.parametrize(
    ("kind", "source", "other"),
    [
        ("dir", "", ""),
        ("fs", "<device path='/dev/sdb'/>", "<device path='/dev/sdb'/>"),
        ("netfs", NFS.format("a"), NFS.format("a")),
    ],
)
def test_the_second_on_the_same_storage_is_refused(kind: str, source: str, other: str) -> None:
    first, second = pool("first", kind, source), pool("second", kind, other)
    with pytest.raises(VirError, match="conflict with pool: 'first'") as refused:
        refuse_conflict(second, [first])
    assert refused.value.code is ErrorCode.OPERATION_FAILED
    refuse_conflict(first, [first])  # defined anew, it is not in its own way


def test_pools_on_storage_of_their_own_are_let_be() -> None:
    refuse_conflict(pool("a", "dir", path="/a"), [pool("b", "dir", path="/b")])
    refuse_conflict(pool("a", "netfs", NFS.format("a")), [pool("b", "netfs", NFS.format("b"))])
    refuse_conflict(pool("a", "dir"), [pool("b", "fs", "<device path='/dev/sdb'/>")])
