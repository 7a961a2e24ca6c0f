"""Guests of libvirt's own daemon are read from the status files that it has left."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import parse_domain
from conf.errors import ConfError
from rpc.enums import DomainPausedReason, DomainState
from supervisor.objects.libvirt_status import NotTaken, parse_libvirt_status
from tests.unit.objects.libvirt_statuses import PORT, UUID, status_file


def test_a_guest_is_read_with_its_identity_state_and_capabilities() -> None:
    found = parse_libvirt_status(status_file(pid=42, more="<fakereboot/>"))
    assert (found.name, found.uuid, found.id, found.pid) == ("web", UUID, 6, 42)
    assert (found.state, found.reason) == (DomainState.PAUSED, DomainPausedReason.USER)
    assert found.monitor == "/var/lib/libvirt/qemu/domain-6-web/monitor.sock"
    assert (found.taints, found.deprecations) == (("custom-monitor",), ("a setting",))
    assert (found.agent_timeout, found.fake_reboot) == (5, True)
    assert (found.namespaces, found.flags) == (("mount",), "tcg set-action")


def test_its_live_xml_has_what_interfaces_are_attached_to_and_no_private_data() -> None:
    domain = parse_domain(parse_libvirt_status(status_file()).live_xml)
    network, bridge, direct, user = domain.devices.interfaces
    assert (network.type, bridge.type, direct.type) == ("network", "bridge", "direct")
    assert user.type == "user"
    assert network.source is not None
    assert (network.source.network, network.source.portid) == ("lab", PORT)
    assert network.source.bridge == "virbr3"
    assert bridge.source is not None
    assert (bridge.source.network, bridge.source.bridge) == ("outside", "br0")
    assert bridge.bandwidth is not None
    assert direct.source is not None
    assert (direct.source.dev, direct.source.mode) == ("eth0", "vepa")
    assert domain.devices.disks[0].source is not None
    assert domain.devices.disks[0].source.index == 4


def test_metadata_is_the_clients_and_stays() -> None:
    xml = parse_libvirt_status(status_file()).live_xml
    assert "<privateData>kept</privateData>" in xml
    assert xml.count("privateData") == 2


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("<job type='async nested' async='migration out'/>", "job 'migration out' is under way"),
        ("<blockjobs active='yes'/>", "block job of it is under way"),
        ("<backups><domainbackup/></backups>", "backup is under way"),
    ],
)
def test_a_guest_in_the_middle_of_a_job_is_not_taken(more: str, reason: str) -> None:
    text = status_file(more=more)
    if "blockjobs" in more:
        text = text.replace("<blockjobs active='no'/>", "")
    with pytest.raises(NotTaken, match=reason):
        parse_libvirt_status(text)


def test_a_finished_job_is_no_obstacle() -> None:
    assert parse_libvirt_status(status_file(more="<job type='none' async='none'/>")).id == 6


def test_a_container_is_not_taken() -> None:
    text = status_file().replace("<domain type='kvm'", "<domain type='lxc'")
    with pytest.raises(NotTaken, match="libvirt_lxc"):
        parse_libvirt_status(text)


@given(st.data())
def test_damaged_files_are_refused_and_nothing_else(data: st.DataObject) -> None:
    text = status_file()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    insert = data.draw(st.text(max_size=8))
    with contextlib.suppress(NotTaken, ConfError, ValueError):
        parse_libvirt_status(text[:start] + insert + text[end:])
