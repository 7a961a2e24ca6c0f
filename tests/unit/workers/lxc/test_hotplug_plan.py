"""A device is completed for a running container, whose other devices stay as they are."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.device_xml import parse_device
from conf.domain.lxc.defaults import complete_container
from conf.errors import ConfError
from supervisor.workers.lxc.hotplug_plan import complete_device, drop_device, insert_device
from supervisor.workers.lxc.start import assign_aliases

NIC = "<interface type='bridge'><source bridge='b'/></interface>"


def running() -> Domain:
    """A running container, with what its start has assigned."""
    live = complete_container(
        parse_domain(
            "<domain type='lxc' id='7'><name>c</name><memory>65536</memory>"
            "<os><type arch='x86_64'>exe</type><init>/sbin/init</init></os><devices>"
            "<filesystem><source dir='/srv/c'/><target dir='/'/></filesystem>"
            f"{NIC}{NIC}<console type='pty'/><console type='pty'/></devices></domain>"
        ),
        "x86_64",
    )
    live.id = 7
    assign_aliases(live)
    for number, interface in enumerate(live.devices.interfaces):
        interface.target_dev, interface.guest_actual = f"vnet{number}", f"eth{number}"
    for number, console in enumerate(live.devices.consoles):
        console.tty, console.target_port = f"/dev/pts/{number + 4}", number + 1
    return live


def xml(domain: Domain) -> str:
    return format_domain(domain, live=True, secure=True)


def test_the_rest_of_a_running_container_stays_as_its_start_made_it() -> None:
    live = running()
    before = xml(live)
    tag, device = parse_device(NIC)
    complete_device(live, tag, device)
    assert xml(live) == before
    insert_device(live, tag, device)
    assert "/dev/pts/5" in xml(live)
    assert live.devices.interfaces[2].mac
    drop_device(live, tag, device)
    assert xml(live) == before


def test_an_attached_device_gets_an_alias_that_no_other_has() -> None:
    live = running()
    del live.devices.interfaces[0]
    aliases = []
    for given in (NIC, NIC.replace("<source", "<alias name='net1'/><source")):
        tag, device = parse_device(given)
        complete_device(live, tag, device)
        insert_device(live, tag, device)
        aliases = [interface.alias for interface in live.devices.interfaces]
    assert aliases == ["net1", "net0", "net2"]


def test_an_alias_of_another_device_is_refused() -> None:
    live = running()
    live.devices.interfaces[1].alias = "ua-front"
    tag, device = parse_device(NIC.replace("<source", "<alias name='ua-front'/><source"))
    with pytest.raises(ConfError, match="ua-front") as refusal:
        complete_device(live, tag, device)
    assert refusal.value.kind == "operation_invalid"


def test_a_device_that_no_container_has_is_refused_before_the_live_xml_names_it() -> None:
    live = running()
    before = xml(live)
    tag, device = parse_device("<interface type='user'/>")
    with pytest.raises(ConfError, match="Unsupported network type user"):
        complete_device(live, tag, device)
    assert xml(live) == before
