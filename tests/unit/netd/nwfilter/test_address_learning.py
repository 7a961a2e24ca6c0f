"""Address events of frames, and the plans of bindings."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.nwfilter import Filter, FilterBinding, Rule
from rpc.errors import ErrorCode, VirError
from supervisor.netd.nwfilter.address_learning import LearningMode
from supervisor.netd.nwfilter.binding_plan import plan_binding, update_addresses
from supervisor.netd.nwfilter.packets import (
    AddressEvent,
    AddressSeen,
    LeaseGranted,
    LeaseReleased,
    read_frame,
)

MAC = bytes.fromhex("525400000001")
OTHER = bytes.fromhex("525400000009")
SPOOFED = Rule(action="drop", direction="out", protocol="ip", values={"srcipaddr": "$IP"})
FILTERS = {"f": Filter(name="f", entries=(SPOOFED,))}


def ethernet(kind: int, payload: bytes, source: bytes = MAC) -> bytes:
    return b"\xff" * 6 + source + struct.pack(">H", kind) + payload


def arp(address: str, source: bytes = MAC) -> bytes:
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    return ethernet(0x0806, head + source + IPv4Address(address).packed + bytes(10), source)


def udp(source: str, ports: tuple[int, int], data: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(data), 0, 0, 64, 17, 0)
    addresses = IPv4Address(source).packed + IPv4Address("255.255.255.255").packed
    return head + addresses + struct.pack(">HHHH", *ports, 8 + len(data), 0) + data


def dhcp(kind: int, address: str, lease: int | None = None, reply: int = 2) -> bytes:
    message = bytearray(240)
    message[0] = reply
    message[12 if kind == 7 else 16 : 16 if kind == 7 else 20] = IPv4Address(address).packed
    message[28:34] = MAC
    message[236:240] = b"\x63\x82\x53\x63"
    options = bytes([53, 1, kind, 54, 4, 10, 0, 0, 1])
    if lease is not None:
        options += bytes([51, 4]) + struct.pack(">I", lease)
    return bytes(message) + options + b"\xff"


def answer(address: str, lease: int | None = 3600) -> bytes:
    return ethernet(0x0800, udp("10.0.0.1", (67, 68), dhcp(5, address, lease)), OTHER)


def test_address_is_seen_in_arp_and_ipv4() -> None:
    assert read_frame(arp("10.0.0.7"), MAC, to_guest=False) == AddressSeen("10.0.0.7")
    sent = ethernet(0x0800, udp("10.0.0.7", (1000, 53), b"?"))
    assert read_frame(sent, MAC, to_guest=False) == AddressSeen("10.0.0.7")


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "255.255.255.255"])
def test_invalid_guest_addresses_are_not_learned(address: str) -> None:
    assert read_frame(arp(address), MAC, to_guest=False) is None


def test_frames_of_other_mac_addresses_are_ignored() -> None:
    assert read_frame(arp("10.0.0.7", OTHER), MAC, to_guest=False) is None


def test_lease_is_learned_from_dhcp_ack() -> None:
    assert read_frame(answer("10.0.0.7"), MAC, to_guest=True) == LeaseGranted(
        "10.0.0.7", "10.0.0.1", 3600
    )
    assert read_frame(answer("10.0.0.7", None), MAC, to_guest=True) == LeaseGranted(
        "10.0.0.7", "10.0.0.1", None
    )


def test_guest_cannot_forge_dhcp_ack() -> None:
    assert read_frame(answer("10.0.0.7"), MAC, to_guest=False) is None
    own = ethernet(0x0800, udp("10.0.0.1", (67, 68), dhcp(5, "10.0.0.7", 9)))
    assert read_frame(own, MAC, to_guest=False) is None


def test_dhcp_release() -> None:
    frame = ethernet(0x0800, udp("10.0.0.7", (68, 67), dhcp(7, "10.0.0.7", reply=1)))
    assert read_frame(frame, MAC, to_guest=False) == LeaseReleased("10.0.0.7")


@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_frames_never_raise(tail: bytes, to_guest: bool) -> None:
    for kind in (0x0800, 0x0806, 0x8100):
        frame = ethernet(kind, tail, OTHER if to_guest else MAC)
        assert read_frame(frame[: len(tail)], MAC, to_guest=to_guest) is None or len(tail) > 14
        told = read_frame(frame, MAC, to_guest=to_guest)
        assert told is None or isinstance(told, AddressSeen | LeaseGranted | LeaseReleased)


def test_address_events_update_the_list() -> None:
    steps: list[AddressEvent] = [
        AddressSeen("a"),
        LeaseGranted("b", "", None),
        AddressSeen("a"),
        LeaseReleased("b"),
        LeaseReleased("c"),
    ]
    known: list[str] = []
    for told in steps:
        known = update_addresses(known, told)
    assert known == ["a"]


def binding(**variables: str) -> FilterBinding:
    return FilterBinding(
        tap="vnet0",
        mac="52:54:00:00:00:01",
        filter="f",
        owner="web",
        owner_uuid="",
        variables={name: (value,) for name, value in variables.items()},
    )


def test_configured_address_is_not_learned() -> None:
    assert plan_binding(binding(IP="10.0.0.2"), (), FILTERS.get).learning is LearningMode.NONE


def test_missing_address_starts_learning() -> None:
    assert plan_binding(binding(), (), FILTERS.get).learning is LearningMode.ANY
    assert (
        plan_binding(binding(CTRL_IP_LEARNING="dhcp"), (), FILTERS.get).learning
        is LearningMode.DHCP
    )


def test_learned_address_ends_learning_except_dhcp() -> None:
    known = plan_binding(binding(), ("10.0.0.7",), FILTERS.get)
    assert known.learning is LearningMode.NONE
    assert "10.0.0.7" in str(known.plan.ether)
    assert (
        plan_binding(binding(CTRL_IP_LEARNING="dhcp"), ("10.0.0.7",), FILTERS.get).learning
        is LearningMode.DHCP
    )


def test_learning_none_requires_an_address() -> None:
    with pytest.raises(VirError, match=r"unresolvable variables.*IP"):
        plan_binding(binding(CTRL_IP_LEARNING="none"), (), FILTERS.get)


def test_unknown_learning_mode_is_refused() -> None:
    with pytest.raises(VirError, match="filter 'f' learning value 'dhpc' invalid") as refused:
        plan_binding(binding(CTRL_IP_LEARNING="dhpc"), (), FILTERS.get)
    assert refused.value.code is ErrorCode.PARSE_FAILED
