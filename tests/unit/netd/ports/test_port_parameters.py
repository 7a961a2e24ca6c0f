"""Parameters of a network port's bandwidth."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, VirError
from rpc.params import UInt, declared, params, read_params
from supervisor.netd.ports.calls import LIMITS, rate_of

TYPES = declared(*(".".join(limit) for limit in LIMITS))


def test_each_limit_of_a_port_is_read() -> None:
    given = params({".".join(limit): UInt(place + 1) for place, limit in enumerate(LIMITS)})
    values = read_params(given, TYPES)
    inbound, outbound = rate_of("inbound", values), rate_of("outbound", values)
    assert inbound is not None
    assert outbound is not None
    assert (inbound.average, inbound.peak, inbound.floor, inbound.burst) == (1, 2, 3, 4)
    assert (outbound.average, outbound.peak, outbound.floor, outbound.burst) == (5, 6, None, 7)


def test_what_a_port_sends_has_no_floor() -> None:
    with pytest.raises(VirError) as refused:
        read_params(params({"outbound.floor": UInt(1)}), TYPES)
    assert refused.value.code is ErrorCode.ARGUMENT_UNSUPPORTED
