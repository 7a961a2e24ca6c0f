"""Ports of Open vSwitch and MidoNet: their programs get the arguments of libvirt 9.0, measured."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from conf.domain.devices.interface import Interface
from conf.mapper import parse
from conf.types.bandwidth import Bandwidth, Rate
from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan
from rpc.errors import ErrorCode, VirError
from supervisor.netd.ports.plan import (
    check_limits,
    live_interface,
    merge_virtual_ports,
    plan_interface,
)
from supervisor.netd.ports.records import PortRecord
from supervisor.netd.ports.virtual_switch import VirtualSwitches, add_port, change_vlan
from supervisor.runtime.subprocesses import CompletedProgram

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
PORT = VirtualPort(type="openvswitch", interfaceid=UUID)
RECORD = PortRecord(
    device="vnet0",
    kind="tap",
    domain="web",
    uuid=UUID,
    mac="52:54:00:11:22:33",
    interface="",
    bridge="ovsbr0",
)


def interface(inside: str, port: str = "openvswitch") -> Interface:
    """An interface on a switch."""
    return parse(
        Interface,
        "<interface type='bridge'><mac address='52:54:00:11:22:33'/><source bridge='ovsbr0'/>"
        f"<virtualport type='{port}'><parameters interfaceid='{UUID}'/></virtualport>{inside}"
        "</interface>",
    )


class Programs:
    """Notes what is run, and ends as it is told."""

    def __init__(self, ending: CompletedProgram | OSError | TimeoutError) -> None:
        self.ran: list[Sequence[str]] = []
        self._ending = ending

    async def __call__(self, argv: Sequence[str]) -> CompletedProgram:
        self.ran.append(argv)
        if isinstance(self._ending, Exception):
            raise self._ending
        return self._ending


def test_a_controller_finds_the_guest_of_a_port() -> None:
    words = " ".join(add_port(RECORD, PORT, None))
    assert words == (
        "ovs-vsctl --timeout=5 -- --may-exist add-port ovsbr0 vnet0 "
        '-- set Interface vnet0 external-ids:attached-mac="52:54:00:11:22:33" '
        f'-- set Interface vnet0 external-ids:iface-id="{UUID}" '
        f'-- set Interface vnet0 external-ids:vm-id="{UUID}" '
        "-- set Interface vnet0 external-ids:iface-status=active"
    )


def test_a_profile_is_told_to_the_switch() -> None:
    port = VirtualPort(type="openvswitch", interfaceid=UUID, profileid="prof")
    words = add_port(RECORD, port, None)
    assert 'external-ids:port-profile="prof"' in words


@pytest.mark.parametrize(
    ("vlan", "columns"),
    [
        ("<vlan><tag id='42'/></vlan>", ["tag=42"]),
        ("<vlan><tag id='42'/><tag id='47'/></vlan>", ["trunk=42,47"]),
        ("<vlan trunk='yes'><tag id='42'/></vlan>", ["trunk=42"]),
        ("<vlan><tag id='42' nativeMode='untagged'/><tag id='47'/></vlan>",
         ["vlan_mode=native-untagged", "tag=42", "trunk=42,47"]),
        ("<vlan><tag id='42' nativeMode='tagged'/></vlan>",
         ["vlan_mode=native-tagged", "tag=42", "tag=42"]),
    ],
)  # fmt: skip
def test_tags_are_columns_of_the_port(vlan: str, columns: list[str]) -> None:
    tags = parse(Vlan, vlan)
    words = add_port(RECORD, PORT, tags)
    assert words[7 : words.index("--", 7)] == columns
    assert change_vlan("vnet0", tags)[-len(columns) :] == columns


async def test_ports_of_midonet_are_bound_by_its_own_program() -> None:
    programs = Programs(CompletedProgram(0, "", ""))
    switches, port = VirtualSwitches(programs), VirtualPort(type="midonet", interfaceid=UUID)
    await switches.add(RECORD, port, None)
    await switches.delete("vnet0", port)
    assert programs.ran == [
        ("mm-ctl", "--bind-port", UUID, "vnet0"),
        ("mm-ctl", "--unbind-port", UUID),
    ]


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (CompletedProgram(1, "", "no bridge named ovsbr0"), ErrorCode.INTERNAL_ERROR),
        (OSError(errno.ENOENT, "No such file or directory"), ErrorCode.INTERNAL_ERROR),
        (TimeoutError(), ErrorCode.OPERATION_TIMEOUT),
    ],
)
async def test_a_switch_that_refuses_is_named(
    ending: CompletedProgram | OSError | TimeoutError, code: ErrorCode
) -> None:
    switches = VirtualSwitches(Programs(ending))
    with pytest.raises(VirError, match="Unable to add port vnet0 to OVS bridge ovsbr0") as refused:
        await switches.add(RECORD, PORT, None)
    assert refused.value.code is code
    await switches.delete("vnet0", PORT)  # the guest has ended all the same


async def test_ports_of_bridges_have_no_program() -> None:
    programs = Programs(CompletedProgram(0, "", ""))
    await VirtualSwitches(programs).delete("vnet0", None)
    assert programs.ran == []


def test_an_interface_on_a_switch_keeps_its_identifier_and_tags() -> None:
    wanted = interface("<vlan><tag id='42'/></vlan>")
    plan = plan_interface(wanted)
    live = live_interface(wanted, plan, "vnet0", "")
    assert plan.is_switched
    assert (live.virtualport, live.vlan) == (wanted.virtualport, wanted.vlan)


@pytest.mark.parametrize(
    "inside",
    ["<filterref filter='f'/>", "<bandwidth><inbound average='1'/></bandwidth>"],
)
def test_what_the_switch_would_have_to_do_is_refused(inside: str) -> None:
    with pytest.raises(VirError) as refused:
        plan_interface(interface(inside))
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED


def test_tags_take_a_switch_that_has_them() -> None:
    with pytest.raises(VirError, match="Open vSwitch"):
        plan_interface(interface("<vlan><tag id='42'/></vlan>", "midonet"))


def test_an_interface_completes_what_its_network_says_of_the_switch() -> None:
    network = VirtualPort(type="openvswitch", profileid="prof")
    own = VirtualPort(interfaceid=UUID, instanceid=UUID)
    merged = merge_virtual_ports((own, None, network))
    assert merged == VirtualPort(type="openvswitch", interfaceid=UUID, profileid="prof")
    with pytest.raises(VirError, match="mismatched types"):
        merge_virtual_ports((VirtualPort(type="midonet"), network))


def test_limits_of_a_running_port_are_its_switchs() -> None:
    with pytest.raises(VirError, match="cannot be set on a switch"):
        check_limits(interface(""), Bandwidth(inbound=Rate(average=1)))
