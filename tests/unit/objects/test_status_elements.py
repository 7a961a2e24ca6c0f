"""What libvirt needs beside the live XML is added to it, and taken away again without a trace."""

from __future__ import annotations

from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from conf.domain import Domain, format_domain, parse_domain
from supervisor.objects.libvirt_status import parse_libvirt_status
from supervisor.objects.status_elements import highest_index, live_text, status_text
from tests.unit.objects.libvirt_statuses import DISKS, DOMAIN, INTERFACES, UUID, status_file

LIVE = parse_libvirt_status(status_file()).live_xml


def live(domain: Domain) -> str:
    return format_domain(domain, live=True, secure=True)


def test_each_image_has_the_names_of_its_nodes() -> None:
    root = etree.fromstring(status_text(LIVE))
    names = [node.get("name") for node in root.iterfind(".//source/privateData//nodename")]
    assert names == [f"libvirt-{n}-{kind}" for n in (4, 2) for kind in ("storage", "format")]
    drives = [node.get("name") for node in root.iterfind(".//disk/privateData/qom")]
    assert drives == ["/machine/peripheral/virtio-disk0/virtio-backend", "sata0-0-0"]
    filters = [node.get("name") for node in root.iterfind(".//disk/privateData/nodenames/*")]
    assert filters == ["libvirt-CoR-vda"]


def test_an_interface_is_of_its_network_and_has_what_it_is_attached_to() -> None:
    root = etree.fromstring(status_text(LIVE))
    interfaces = root.findall(".//interface")
    assert [one.get("type") for one in interfaces] == ["network", "network", "network", "user"]
    actual = [one.find("actual") for one in interfaces[:3]]
    assert [one.get("type") for one in actual if one is not None] == ["network", "bridge", "direct"]
    assert actual[1] is not None
    assert actual[1].find("bandwidth/inbound") is not None
    assert interfaces[3].find("actual") is None


def test_the_highest_number_of_a_node_is_found() -> None:
    assert highest_index(LIVE) == 4
    assert highest_index("<domain><devices/></domain>") == 0


NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(NAMES, NAMES, st.lists(st.sampled_from([DISKS, INTERFACES]), unique=True), st.integers(1))
def test_what_is_added_is_taken_away(file: str, note: str, parts: list[str], number: int) -> None:
    devices = "".join(parts).replace("/d/top.qcow2", escape(file, {"'": "&apos;"}))
    text = DOMAIN.format(uuid=UUID, devices=devices).replace("kept", escape(note))
    xml = live(parse_domain(text.replace("index='4'", f"index='{number % 10_000}'")))
    assert live_text(status_text(xml)) == xml


@given(NAMES)
def test_libvirts_reader_and_ours_find_the_same_live_xml(file: str) -> None:
    devices = (DISKS + INTERFACES).replace("/d/top.qcow2", escape(file, {"'": "&apos;"}))
    written = status_file(devices=devices)
    xml = parse_libvirt_status(written).live_xml
    start, end = written.index("<domain "), written.index("</domstatus>")
    ours = written[:start] + status_text(xml) + written[end:]
    assert parse_libvirt_status(ours).live_xml == xml
