"""Two pools on the same storage; the comparison is `conf.storage.same_source`."""

from __future__ import annotations

import pytest

from conf.storage import Pool, parse_pool
from rpc.errors import ErrorCode, VirError
from supervisor.stord.pool import check_source_conflict


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
def test_pool_on_the_storage_of_another_is_refused(kind: str, source: str, other: str) -> None:
    first, second = pool("first", kind, source), pool("second", kind, other)
    with pytest.raises(VirError, match="conflict with pool: 'first'") as refused:
        check_source_conflict(second, [first])
    assert refused.value.code is ErrorCode.OPERATION_FAILED
    check_source_conflict(first, [first])  # redefined


def test_pools_on_different_storage_do_not_conflict() -> None:
    check_source_conflict(pool("a", "dir", path="/a"), [pool("b", "dir", path="/b")])
    check_source_conflict(
        pool("a", "netfs", NFS.format("a")), [pool("b", "netfs", NFS.format("b"))]
    )
    check_source_conflict(pool("a", "dir"), [pool("b", "fs", "<device path='/dev/sdb'/>")])
