"""USB ports: free ones are found, wrong ones refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain.addresses.usb_ports import UsbPorts, format_port, parse_port
from conf.errors import ConfError


def uhci() -> UsbPorts:
    ports = UsbPorts()
    ports.add_controller(0, 2)
    return ports


def test_a_hub_gives_ports_once_the_controller_is_full() -> None:
    ports = uhci()
    ports.reserve_hub(0, (1,))
    assert ports.free(None) == (0, (2,))
    ports.reserve(0, (2,))
    assert ports.free(None) == (0, (1, 1))
    assert ports.total() == 10


def test_a_full_bus_is_reported_with_its_number() -> None:
    ports = uhci()
    ports.reserve(0, (1,))
    ports.reserve(0, (2,))
    with pytest.raises(ConfError, match="No free USB ports on bus 0"):
        ports.free(0)


@pytest.mark.parametrize(
    ("bus", "port", "message"),
    [
        (1, (1,), "Missing USB bus 1"),
        (0, (3,), "port 3 not present on USB bus 0"),
        (0, (2, 1), "no hub at port 2 in USB bus 0"),
        (0, (1,), "Duplicate USB address bus 0 port 1"),
    ],
)
def test_a_port_that_cannot_be_is_refused(bus: int, port: tuple[int, ...], message: str) -> None:
    ports = uhci()
    ports.reserve(0, (1,))
    with pytest.raises(ConfError, match=message):
        ports.reserve(bus, port)


@given(st.lists(st.integers(1, 255), min_size=1, max_size=4))
def test_a_port_is_read_as_it_is_written(numbers: list[int]) -> None:
    assert parse_port(format_port(tuple(numbers))) == tuple(numbers)


@pytest.mark.parametrize("text", ["", "0", "1.", "1.2.3.4.5", "a", "-1"])
def test_a_text_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ConfError, match="Cannot parse <address> 'port'"):
        parse_port(text)
