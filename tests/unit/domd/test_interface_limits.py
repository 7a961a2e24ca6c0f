"""What virDomainSetInterfaceParameters leaves of the limits that were there."""

from __future__ import annotations

import pytest

from conf.types.bandwidth import Bandwidth, Rate
from supervisor.domd.calls.interface_parameters import FIELDS, with_limits

BEFORE = Bandwidth(inbound=Rate(average=300, peak=310, burst=64, floor=200))
OUT = Rate(average=10)


@pytest.mark.parametrize(
    ("given", "inbound"),
    [
        ({"inbound.average": 250}, Rate(average=250)),
        ({"inbound.average": 300, "inbound.peak": 400}, Rate(average=300, peak=400)),
        ({"inbound.floor": 20}, Rate(floor=20)),
        ({"inbound.average": 0, "inbound.floor": 20}, Rate(floor=20)),
        ({"inbound.average": 0}, None),
        ({"inbound.average": 0, "inbound.peak": 5}, None),
        ({"inbound.floor": 0}, None),
        ({"inbound.peak": 400}, BEFORE.inbound),
        ({"inbound.burst": 32, "outbound.burst": 32}, BEFORE.inbound),
    ],
)
def test_a_direction_has_what_is_given_and_nothing_else(
    given: dict[str, int], inbound: Rate | None
) -> None:
    limits = {FIELDS[name]: value for name, value in given.items()}
    changed = with_limits(Bandwidth(inbound=BEFORE.inbound, outbound=OUT), limits)
    assert changed == Bandwidth(inbound=inbound, outbound=OUT)


def test_without_any_limit_there_is_no_bandwidth() -> None:
    assert with_limits(BEFORE, {("inbound", "average"): 0}) is None
    only_out = with_limits(None, {("outbound", "average"): 50, ("outbound", "peak"): 60})
    assert only_out == Bandwidth(outbound=Rate(average=50, peak=60))
