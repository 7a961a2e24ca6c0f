"""The table of what is fuzzed: inputs, and what is done with each.

Owns: the table, and how inputs are made of seeds. An input is bytes, as a seed's file holds them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from lxml import etree

from conf.errors import ConfError
from rpc import framing
from rpc.errors import VirError
from rpc.framing import Header
from tests.fuzz import arguments, documents, front_door, streams
from tests.fuzz.mutations import NUMBERS, Change, changed, changes

SEEDS: Final = Path(__file__).parent / "seeds"
MAX_TAIL: Final = 200


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of others' input."""

    name: str  # also the folder of its seeds
    inputs: SearchStrategy[bytes]
    run: Callable[[bytes], None]

    def seeds(self) -> list[Path]:
        """List the files of its seeds: documents to start from, and inputs that once failed."""
        return sorted(path for path in (SEEDS / self.name).glob("*") if path.is_file())


def document_target(name: str, run: Callable[[str], None], *others: str) -> Target:
    """Make the target of a kind of document; its starting documents are its seeds.

    Args:
        name: the kind.
        run: what is done with one; its refusals are `ConfError` and `VirError`.
        others: folders of other documents to start from.
    """

    def check(data: bytes) -> None:
        try:
            run(data.decode(errors="replace"))
        except (ConfError, VirError):
            return

    folders = (name, *others)
    paths = [path for folder in folders for path in sorted((SEEDS / folder).glob("*.xml"))]
    texts = [path.read_text() for path in paths]
    valid = [text for text in texts if is_xml(text)]
    inputs = st.builds(changed, st.sampled_from(valid), changes()).map(str.encode)
    damaged = st.builds(
        damage, st.sampled_from(valid), st.integers(0, 10_000), st.binary(max_size=8)
    )
    return Target(name, inputs | inputs | inputs | damaged, check)


def is_xml(text: str) -> bool:
    """Return whether a seed is a document: one that once failed need not be."""
    try:
        etree.fromstring(text.encode())
    except etree.XMLSyntaxError:
        return False
    return True


def damage(text: str, place: int, data: bytes) -> bytes:
    """Put other bytes into a document."""
    whole = text.encode()
    place %= len(whole)
    return whole[:place] + data + whole[place + len(data) :]


def device_documents() -> SearchStrategy[bytes]:
    """Devices of the domains that are seeds, changed."""
    found: list[str] = []
    for path in sorted((SEEDS / "domain").glob("*.xml")):
        devices = etree.fromstring(path.read_bytes()).find("devices")
        assert devices is not None, path
        found += [etree.tostring(node, encoding="unicode", with_tail=False) for node in devices]
    return st.builds(changed, st.sampled_from(found), changes()).map(str.encode)


def numbers_in(text: str) -> SearchStrategy[bytes]:
    """A document with a random number in one place that has one, and nothing else changed."""
    root = etree.fromstring(text.encode())
    nodes = [node for node in root.iter() if isinstance(node.tag, str)]
    values = [str(value) for node in nodes for value in node.attrib.values()]
    places = [place for place, value in enumerate(values) if any(map(str.isdigit, value))]
    leaves = [node for node in nodes if not len(node)]
    texts = [place for place, node in enumerate(leaves) if (node.text or "").strip().isdigit()]
    kinds = [("set attribute", place) for place in places] + [("set text", p) for p in texts]

    def with_number(kind: tuple[str, int], value: str) -> bytes:
        return changed(text, [Change(kind[0], kind[1], value=value)]).encode()

    return st.builds(with_number, st.sampled_from(kinds), NUMBERS)


def call_inputs() -> SearchStrategy[bytes]:
    """Arguments of any call, behind the numbers of its program and procedure."""
    known = arguments.calls()

    def build(place: int, seed: int) -> bytes:
        procedure = known[place]
        payload = arguments.payload(procedure, Random(seed))
        return struct.pack(">II", procedure.program, procedure.number) + payload

    return st.builds(build, st.integers(0, len(known) - 1), st.integers(0, 1 << 32))


def frame_inputs() -> SearchStrategy[bytes]:
    """Messages one after the other, some of them with a wrong length, then anything."""
    number = st.sampled_from((0, 1, 2, 3, 4, 5, 6, 7, 66, 255, 1 << 31, (1 << 32) - 1))
    program = st.sampled_from((0x20008086, 0x20008087, 0x6B656570, 0))
    procedure = st.integers(0, 500) | st.sampled_from((-1, (1 << 31) - 1))
    kind = st.integers(0, 7) | number
    header = st.builds(Header, program, st.just(1) | number, procedure, kind, number, number)
    message = st.builds(framing.encode, header, st.binary(max_size=80))
    bent = st.builds(lambda size, rest: struct.pack(">I", size) + rest[4:], number, message)
    anything = st.binary(max_size=MAX_TAIL)
    pieces = st.lists(message | message | bent | anything, max_size=6)
    return pieces.map(b"".join)


def line_inputs(folder: str) -> SearchStrategy[bytes]:
    """Lines of JSON, with bytes changed."""
    paths = sorted((SEEDS / folder).glob("*.txt"))
    lines = [line for path in paths for line in path.read_text().splitlines()]
    line = st.builds(damage, st.sampled_from(lines), st.integers(0, 500), st.binary(max_size=6))
    deep = st.builds(lambda n: b"[" * n + b"]" * n, st.integers(0, 5000))
    big = NUMBERS.map(lambda number: b'{"return": {"offset": ' + number.encode() + b"}}")
    return st.lists(line | line | deep | big, min_size=1, max_size=5).map(b"\n".join)


def native_inputs() -> SearchStrategy[bytes]:
    """Lines of a container's configuration, changed and in another order."""
    lines = (SEEDS / "native-lxc/config.txt").read_text().splitlines()
    value = NUMBERS | st.text(max_size=20)
    line = st.sampled_from(lines) | st.builds(
        lambda line, new: f"{line.partition('=')[0]}= {new}", st.sampled_from(lines), value
    )
    return st.lists(line, max_size=25).map(lambda made: "\n".join(made).encode())


def tls_inputs() -> SearchStrategy[bytes]:
    """Handshakes with one flight changed: version and certificate, which, where, how, by what."""
    header = st.builds(
        lambda *parts: struct.pack(">BBHB", *parts),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 2000) | st.integers(0, 80),
        st.integers(0, 255) | st.sampled_from((0, 1, 2, 4)),
    )
    record = st.builds(
        lambda kind, size, rest: bytes((kind, 3, 3)) + struct.pack(">H", size) + rest,
        st.sampled_from((20, 21, 22, 23, 24, 0, 255)),
        st.integers(0, 65535),
        st.binary(max_size=60),
    )
    return st.builds(lambda head, rest: head + rest, header, st.binary(max_size=20) | record)


def sasl_inputs() -> SearchStrategy[bytes]:
    """Messages of a conversation: the right ones, changed ones, anything."""
    texts = st.sampled_from(
        (b",", b"=", b'"', b"\\", b"n,,", b"r=", b"p=", b"\0", b"maxbuf=", b"nc=")
    )
    piece = st.binary(max_size=40) | texts | st.binary(max_size=4).map(lambda data: data * 300)
    message = st.builds(
        lambda how, place, data: struct.pack(">BBH", how, place, len(data)) + data,
        st.sampled_from((0, 0, 0, 1, 2, 3, 3, 4, 4)),
        st.integers(0, 255),
        piece,
    )
    parts = st.lists(message, max_size=6).map(b"".join)
    mechanism = st.integers(0, 4) | st.integers(0, 20)
    return st.builds(
        lambda first, bare, rest: bytes((first, bare)) + rest, mechanism, st.integers(0, 1), parts
    )


def session_inputs() -> SearchStrategy[bytes]:
    """Messages of a client that comes by one of the ways in; many are of the authentication."""
    word = st.sampled_from((b"right", b"wrong", b"x" * 2000)) | st.binary(max_size=20)

    def auth(number: int, mechanism: bytes, data: bytes, nil: int) -> bytes:
        name = struct.pack(">I", len(mechanism)) + mechanism + b"\0" * (-len(mechanism) % 4)
        body = struct.pack(">iI", nil, len(data)) + data + b"\0" * (-len(data) % 4)
        payload = {67: name + body, 68: body}.get(number, b"")
        return framing.encode(Header(0x20008086, 1, number, 0, 1, 0), payload)

    mechanisms = st.sampled_from((b"PLAIN", b"DIGEST-MD5", b"", b"\xff"))
    talk = st.builds(
        auth, st.sampled_from((65, 66, 67, 67, 68, 69, 70)), mechanisms, word, st.integers(0, 1)
    )

    def call(place: int, seed: int) -> bytes:
        known = arguments.calls()
        procedure = known[place % len(known)]
        header = Header(procedure.program, 1, procedure.number, 0, 1, 0)
        return framing.encode(header, arguments.payload(procedure, Random(seed))[: 1 << 20])

    admin = [place for place, each in enumerate(arguments.calls()) if each.program == 0x06900690]
    calls = st.builds(call, st.integers(0, 1000) | st.sampled_from(admin), st.integers(0, 1 << 32))
    pieces = st.lists(talk | talk | calls | frame_inputs(), max_size=6).map(b"".join)
    return st.builds(lambda way, data: bytes((way,)) + data, st.integers(0, 5), pieces)


def dbus_inputs() -> SearchStrategy[bytes]:
    """Answers and signals: the right ones, and ones of any other form, as JSON."""
    right = st.sampled_from(
        (
            ("reply", "(bba{ss})", [[True, False, {}]]),
            ("reply", "(bba{ss})", [[False, True, {"polkit.dismissed": "true"}]]),
            ("reply", "s", [":1.5"]),
            ("reply", "i", [2]),
            ("reply", "o", ["/g"]),
            ("reply", "", []),
            ("error", "s", ["no"]),
            ("NameOwnerChanged", "sss", ["org.freedesktop.Avahi", "", ":1.5"]),
            ("NameOwnerChanged", "sss", ["org.freedesktop.Avahi", ":1.5", ""]),
            ("StateChanged", "is", [3, ""]),
        )
    )
    value = st.one_of(
        st.tuples(st.just("s"), st.text(max_size=70)),
        st.tuples(st.just("i"), st.integers(-(1 << 31), (1 << 31) - 1)),
        st.tuples(st.just("b"), st.booleans()),
        st.tuples(st.just("as"), st.lists(st.text(max_size=5), max_size=3)),
        st.tuples(st.just("a{ss}"), st.dictionaries(st.text(max_size=5), st.text(max_size=5))),
        st.tuples(st.just("v"), st.just(["s", "x"])),
    )
    other = st.builds(
        lambda kind, values: (kind, "".join(v[0] for v in values), [v[1] for v in values]),
        st.sampled_from(("reply", "error", "NameOwnerChanged", "StateChanged", "X")),
        st.lists(value, max_size=4),
    )
    return st.lists(right | right | other, max_size=8).map(
        lambda messages: json.dumps(messages).encode()
    )


TARGETS: Final = (
    Target("tls", tls_inputs(), front_door.tls),
    Target("sasl", sasl_inputs(), front_door.sasl),
    Target("session", session_inputs(), front_door.session),
    Target("dbus", dbus_inputs(), front_door.dbus),
    Target("frames", frame_inputs() | st.binary(max_size=400), streams.frames),
    Target("calls", call_inputs(), streams.calls),
    Target("bus", st.binary(max_size=400), streams.bus),
    Target("qmp", line_inputs("qmp"), streams.qmp),
    Target("agent", line_inputs("agent"), streams.agent),
    document_target("domain", documents.domain),
    document_target("container", documents.container),
    document_target("network", documents.network),
    document_target("network-entry", documents.network_entry),
    document_target("pool", documents.pool),
    document_target("volume", documents.volume),
    document_target("secret", documents.secret),
    document_target("filter", documents.traffic_filter),
    document_target("binding", documents.binding),
    document_target("host-interface", documents.host_interface),
    document_target("snapshot", documents.snapshot),
    document_target("metadata", documents.metadata),
    document_target("cpu", documents.cpu),
    document_target("node-device", documents.node_device),
)


def with_other_inputs() -> tuple[Target, ...]:
    """Return every target: those of one kind of document with inputs of their own, too."""
    by_name = {target.name: target for target in TARGETS}
    base = document_target("device", documents.device, "metadata")
    native = document_target("native-lxc", documents.native_lxc, "metadata")
    numbers = [
        Target(name, numbers_in(path.read_text()), by_name[name].run)
        for name in ("domain", "container", "network", "pool", "volume", "filter", "host-interface")
        for path in by_name[name].seeds()
        if path.suffix == ".xml" and is_xml(path.read_text())
    ]
    device = Target("device", device_documents(), base.run)
    lxc = Target("native-lxc", native_inputs(), native.run)
    return (*TARGETS, device, lxc, *numbers)


ALL: Final = with_other_inputs()
