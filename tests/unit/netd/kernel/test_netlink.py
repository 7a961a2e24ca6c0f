"""rtnetlink requests: what pyroute2 keeps of them."""

from __future__ import annotations

import pytest
from pyroute2.iproute.linux import IPRoute

from supervisor.netd.kernel.netlink import drop_unclaimed


def test_acknowledgements_that_no_request_waits_for_are_dropped() -> None:
    with IPRoute() as ip:
        loopback = [ip.get_links(1) for _ in range(3)]
        assert all(list(answer) for answer in loopback)
        list(ip.get_links())  # their acknowledgements are received before its answer
        root = ip.asyncore.msg_queue.root
        if root.empty():
            pytest.fail("this pyroute2 claims them itself: drop_unclaimed can go")
        drop_unclaimed(ip)
        assert root.empty()


def test_a_pyroute2_without_such_queues_is_left_alone() -> None:
    drop_unclaimed(object())
