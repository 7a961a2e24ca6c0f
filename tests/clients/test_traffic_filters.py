"""Network filters with real frames on a bridge, with both backends, in a network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest

from conf.domain.devices.interface import FilterParameter, FilterRef
from conf.nwfilter import stock_filters
from supervisor.netd.firewall.backend_choice import Backend
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.setup import InterfaceFilters, open_filters
from supervisor.runtime.paths import Paths
from tests.clients.namespace import own_network, shown

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("nft", "ebtables", "ip")),
    reason="nft, ebtables and ip are needed (packages nftables, iptables, iproute2)",
)

UUID: Final = "d54df46f-1ab5-4a22-8618-4560ef5fac2c"
MAC: Final = bytes.fromhex("525400000001")
FOREIGN: Final = bytes.fromhex("5254000000ff")
MARK: Final = b"a frame of this test"
WAIT_S: Final = 10.0
ROUNDS: Final = 15  # guests that end while filters are defined
ADDRESS: Final = FilterParameter(name="IP", value="10.0.0.2")


@pytest.fixture(autouse=True)
def _bridge() -> Iterator[None]:
    """A bridge with two ports, vnet0 and vnet1; what is sent to g0 comes in at vnet0."""
    with own_network():
        shown("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        for port, end in (("vnet0", "g0"), ("vnet1", "g1")):
            shown("ip", "link", "add", port, "type", "veth", "peer", "name", end)
            shown("ip", "link", "set", port, "master", "br0", "up")
            shown("ip", "link", "set", end, "up")
        shown("ip", "link", "set", "br0", "up")
        yield


@pytest.fixture(params=list(Backend))
def filters(request: pytest.FixtureRequest, tmp_path: Path) -> Filters:
    """The filters of a host that uses one packet filter or the other."""

    async def backend() -> Backend:
        return Backend(request.param)

    paths = Paths.system(tmp_path)
    paths.etc.mkdir(parents=True)
    return open_filters(paths, backend)


def packet(source: bytes = MAC, address: str = "10.0.0.2", text: bytes = MARK) -> bytes:
    """An Ethernet frame with a UDP packet to everybody."""
    data = text.ljust(26, b".")
    udp = (1000).to_bytes(2) + (2000).to_bytes(2) + (8 + len(data)).to_bytes(2) + bytes(2) + data
    head = bytes([0x45, 0]) + (20 + len(udp)).to_bytes(2) + bytes([0, 0, 0, 0, 64, 17, 0, 0])
    addresses = IPv4Address(address).packed + IPv4Address("10.0.0.255").packed
    total = sum(int.from_bytes((head + addresses)[at : at + 2]) for at in range(0, 20, 2))
    checksum = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2)  # the bridge looks at it
    return b"\xff" * 6 + source + b"\x08\x00" + head[:10] + checksum + addresses + udp


def arp(source: bytes, address: str) -> bytes:
    """An ARP request."""
    said = source + IPv4Address(address).packed + bytes(6) + IPv4Address("10.0.0.1").packed
    head = bytes.fromhex("0001080006040001")
    return b"\xff" * 6 + source + b"\x08\x06" + head + said + MARK


def later_fragment() -> bytes:
    """A fragment whose data could be the header of a UDP packet to port 2000."""
    whole = packet()
    head = whole[14:20] + b"\x00\x03" + whole[22:24] + bytes(2) + whole[26:34]
    total = sum(int.from_bytes(head[at : at + 2]) for at in range(0, 20, 2))
    checksum = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2)
    return whole[:14] + head[:10] + checksum + head[12:] + whole[34:]


def raw(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    opened.bind((device, 3))
    opened.settimeout(WAIT_S)
    return opened


def arrives(frame: bytes, last: bytes) -> bool:
    """Whether a frame gets from one port to the other, before one that surely does."""
    with raw("g0") as guest, raw("g1") as other:
        guest.send(frame)
        guest.send(last)
        came = False
        while (got := other.recv(2048)) != last:
            came |= got == frame
        return came


def reference(name: str, *parameters: FilterParameter) -> FilterRef:
    return FilterRef(filter=name, parameters=list(parameters))


async def bound(
    filters: Filters,
    name: str,
    *parameters: FilterParameter,
) -> InterfaceFilters:
    await filters.load(stock_filters)
    await filters.recover()
    filters_of_taps = InterfaceFilters(filters)
    mac = ":".join(f"{byte:02x}" for byte in MAC)
    await filters_of_taps.apply("vnet0", mac, reference(name, *parameters), "web", UUID)
    return filters_of_taps


def test_odd_frames_match_no_address_and_no_port(filters: Filters) -> None:
    async def filtered() -> None:
        await filters.load(stock_filters)
        xml = (
            "<filter name='own'>"
            "<rule action='accept' direction='out'><arp arpsrcipaddr='10.0.0.2'/></rule>"
            "<rule action='accept' direction='out'><arp arpsrcmacaddr='52:54:00:00:00:01'/></rule>"
            "<rule action='accept' direction='out'><ip protocol='udp' dstportstart='2000'/></rule>"
            "<rule action='drop' direction='inout'/></filter>"
        )
        await filters.define(xml)
        await InterfaceFilters(filters).apply("vnet0", "", reference("own"), "web", UUID)

    asyncio.run(filtered())
    good, request = packet(text=b"the last one"), arp(MAC, "10.0.0.2")
    assert arrives(request, good)
    assert arrives(packet(), good)
    assert not arrives(later_fragment(), good)
    odd = request[:15] + b"\x06\x86\xdd" + request[18:]  # of another kind, for another protocol
    assert not arrives(odd, good)


def test_clean_traffic_drops_spoofed_frames(filters: Filters) -> None:
    asyncio.run(bound(filters, "clean-traffic", ADDRESS))
    good = packet(text=b"the last one")
    assert arrives(packet(), good)
    assert arrives(arp(MAC, "10.0.0.2"), good)
    assert not arrives(packet(FOREIGN), good)
    assert not arrives(packet(address="10.0.0.3"), good)
    assert not arrives(arp(MAC, "10.0.0.3"), good)
    assert not arrives(b"\xff" * 6 + MAC + b"\x86\xdd" + MARK * 3, good)


def ethernet(kind: str, source: bytes = MAC, to: bytes = b"\xff" * 6) -> bytes:
    """A frame of an EtherType, in hexadecimal, that no rule looks into."""
    return to + source + bytes.fromhex(kind) + MARK * 3


def test_clean_traffic_drops_every_other_protocol(filters: Filters) -> None:
    """The last rules of libvirt's packaged filters have no protocol: they match every frame."""
    asyncio.run(bound(filters, "clean-traffic", ADDRESS))
    good = packet(text=b"the last one")
    assert not arrives(arp(FOREIGN, "10.0.0.2"), good)
    for kind in ("86dd", "8035", "8100", "88b5", "0806"):
        assert not arrives(ethernet(kind, FOREIGN), good), kind
    for kind in ("86dd", "8035", "8100", "88b5"):
        assert not arrives(ethernet(kind), good), kind


def test_clean_traffic_gateway_exchanges_frames_with_the_gateway_alone(filters: Filters) -> None:
    gateway = FilterParameter(name="GATEWAY_MAC", value="52:54:00:00:00:ff")
    asyncio.run(bound(filters, "clean-traffic-gateway", ADDRESS, gateway))
    good = arp(MAC, "10.0.0.2")
    assert arrives(ethernet("88b5", to=FOREIGN), good)
    assert not arrives(ethernet("88b5"), good)
    assert not arrives(packet(), good)
    assert not arrives(arp(MAC, "10.0.0.3"), good)


@pytest.mark.parametrize(
    ("name", "kind", "passes"),
    [
        ("no-other-l2-traffic", "88b5", False),
        ("no-other-rarp-traffic", "8035", False),
        ("no-other-rarp-traffic", "88b5", True),
        ("no-mac-spoofing", "88b5", True),
        ("no-ip-spoofing", "88b5", True),
        ("no-arp-spoofing", "0806", False),
        ("no-arp-spoofing", "88b5", True),
    ],
)
def test_rule_without_protocol_matches_its_chains_frames(
    filters: Filters, name: str, kind: str, passes: bool
) -> None:
    asyncio.run(bound(filters, name, ADDRESS))
    with raw("g0") as guest, raw("g1") as other:
        guest.send(ethernet(kind))
        other.settimeout(0.3)
        seen = set()
        with contextlib.suppress(TimeoutError):
            while True:
                seen.add(other.recv(2048))
    assert (ethernet(kind) in seen) == passes


def test_removed_binding_leaves_no_rules(filters: Filters) -> None:
    before = shown("ebtables-save").splitlines()[1:-1], shown("iptables-save", "-t", "filter")

    async def come_and_go() -> None:
        filters_of_taps = await bound(filters, "clean-traffic", ADDRESS)
        await filters.define(
            "<filter name='packets'><rule action='drop' direction='out'>"
            "<tcp dstportstart='25'/></rule></filter>"
        )
        mac = "52:54:00:00:00:01"
        await filters_of_taps.apply("vnet1", mac, reference("packets"), "mail", UUID)
        assert "vnet1" in shown("nft", "list", "ruleset")
        await filters_of_taps.remove("vnet0")
        await filters_of_taps.remove("vnet1")
        await filters_of_taps.remove("vnet1")

    asyncio.run(come_and_go())
    assert "vnet" not in shown("nft", "list", "ruleset")
    rules = [line for line in before[1].splitlines() if line.startswith("-")]
    now = shown("iptables-save", "-t", "filter").splitlines()
    assert [line for line in now if line.startswith("-")] == rules
    assert shown("ebtables-save").splitlines()[1:-1] in ([], before[0], BUILT_IN)
    assert arrives(packet(FOREIGN), packet(text=b"the last one"))


BUILT_IN: Final = ["*nat", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT"]


def test_no_frame_passes_unfiltered_during_redefinition(filters: Filters) -> None:
    stop = threading.Event()

    def flood(guest: socket.socket) -> None:
        while not stop.is_set():
            guest.send(packet(FOREIGN))

    async def redefine() -> None:
        await bound(filters, "clean-traffic", ADDRESS)
        xml = filters.registry.get_by_name("no-mac-spoofing").xml
        with raw("g0") as guest:
            flooding = threading.Thread(target=flood, args=(guest,))
            flooding.start()
            try:
                for number in range(15):
                    await filters.define(xml.replace("'1000'", f"'{900 + number}'"))
            finally:
                stop.set()
                flooding.join()

    with raw("g1") as other:
        asyncio.run(redefine())
        good = packet(text=b"the last one")
        with raw("g0") as guest:
            guest.send(good)
        frames = set()
        while (frame := other.recv(2048)) != good:
            frames.add(frame[6:12])
    assert FOREIGN not in frames


def test_address_is_learned_from_traffic(filters: Filters) -> None:
    async def learned() -> tuple[str, ...]:
        await bound(filters, "clean-traffic")
        with raw("g0") as guest:
            guest.send(arp(MAC, "10.0.0.2"))
        async with asyncio.timeout(WAIT_S):
            while not filters.registry.binding("vnet0").learned:  # noqa: ASYNC110  (the kernel's time)
                await asyncio.sleep(0.02)
        filters.close()
        return filters.registry.binding("vnet0").learned

    assert asyncio.run(learned()) == ("10.0.0.2",)
    good = packet(text=b"the last one")
    assert arrives(packet(), good)
    assert not arrives(packet(address="10.0.0.3"), good)


def test_only_dhcp_passes_until_a_lease_is_learned(filters: Filters) -> None:
    only = FilterParameter(name="CTRL_IP_LEARNING", value="dhcp")

    async def waiting() -> None:
        await bound(filters, "clean-traffic", only)
        filters.close()

    asyncio.run(waiting())
    assert not arrives(packet(), dhcp())
    assert not arrives(arp(MAC, "10.0.0.2"), dhcp())


def test_address_of_a_lease_is_learned(filters: Filters) -> None:
    only = FilterParameter(name="CTRL_IP_LEARNING", value="dhcp")

    async def leased() -> None:
        await bound(filters, "clean-traffic", only)
        with raw("g1") as server, raw("g0") as guest:
            guest.send(leasing(MAC))  # forged: the guest is no server
            server.send(leasing(FOREIGN))
        async with asyncio.timeout(WAIT_S):
            while not filters.registry.binding("vnet0").learned:  # noqa: ASYNC110  (the kernel's time)
                await asyncio.sleep(0.02)
        filters.close()

    asyncio.run(leased())
    assert filters.registry.binding("vnet0").learned == ("10.0.0.2",)
    assert arrives(packet(), packet(text=b"the last one"))


def test_filters_are_redefined_while_taps_come_and_go(filters: Filters) -> None:
    """Definitions against guests that start and end, for a bounded number of rounds."""

    async def guest() -> None:
        filters_of_taps = InterfaceFilters(filters)
        for _ in range(ROUNDS):
            await asyncio.to_thread(shown, "ip", "tuntap", "add", "vnet7", "mode", "tap")
            mac = ":".join(f"{byte:02x}" for byte in MAC)
            await filters_of_taps.apply("vnet7", mac, reference("learning"), "web", UUID)
            await asyncio.to_thread(shown, "ip", "link", "del", "vnet7")
            await asyncio.sleep(0.05)
            await filters_of_taps.remove("vnet7")

    async def story() -> int:
        await filters.load(stock_filters)
        await filters.recover()
        await filters.define(learning(0))
        ending = asyncio.ensure_future(guest())
        defined = 0
        while not ending.done():
            defined += 1
            await filters.define(learning(defined))
        await ending
        return defined

    assert asyncio.run(story()) >= ROUNDS


def learning(number: int) -> str:
    """A filter that needs the guest's address at every second definition."""
    address = "$IP" if number % 2 else "10.0.0.1"
    rule = f"<rule action='drop' direction='out' priority='{number}'><ip srcipaddr='{address}'/>"
    return f"<filter name='learning' chain='ipv4'>{rule}</rule></filter>"


def test_lease_expires_after_a_restart_of_netd(filters: Filters, tmp_path: Path) -> None:
    only = FilterParameter(name="CTRL_IP_LEARNING", value="dhcp")

    async def leased() -> None:
        await bound(filters, "clean-traffic", only)
        with raw("g1") as server:
            server.send(leasing(FOREIGN, seconds=2))
        async with asyncio.timeout(WAIT_S):
            while not filters.registry.binding("vnet0").learned:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        filters.close()

    async def ended() -> None:
        after = open_filters(Paths.system(tmp_path), backend_of(shown("nft", "list", "ruleset")))
        await after.load(stock_filters)
        await after.recover()
        assert after.registry.binding("vnet0").learned == ("10.0.0.2",)
        async with asyncio.timeout(WAIT_S):
            while after.registry.binding("vnet0").learned:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        after.close()

    asyncio.run(leased())
    asyncio.run(ended())
    assert not arrives(packet(), dhcp())


def backend_of(rules: str) -> Callable[[], Awaitable[Backend]]:
    """The packet filter that has rules."""

    async def backend() -> Backend:
        return Backend.NFTABLES if "libvirt_nwfilter" in rules else Backend.IPTABLES

    return backend


def leasing(sender: bytes, seconds: int = 3600) -> bytes:
    """A DHCP server's last word; a forged one gives another address."""
    message = bytearray(240)
    message[0] = 2
    message[16:20] = IPv4Address("10.0.0.2" if sender == FOREIGN else "10.0.0.66").packed
    message[28:34] = MAC
    message[236:240] = bytes.fromhex("63825363")
    text = bytes(message) + bytes([53, 1, 5, 51, 4, 0, 0, *seconds.to_bytes(2), 255])
    frame = bytearray(packet(sender, "10.0.0.1", text))
    frame[34:38] = (67).to_bytes(2) + (68).to_bytes(2)
    return bytes(frame)


def dhcp() -> bytes:
    """A question of a DHCP client, as far as filters look."""
    frame = bytearray(packet(address="0.0.0.0", text=b"who am I"))
    frame[34:38] = (68).to_bytes(2) + (67).to_bytes(2)
    return bytes(frame)
