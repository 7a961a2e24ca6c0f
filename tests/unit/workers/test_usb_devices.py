"""Which USB device of the host a container's document means, and the node that it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.startable import check_startable
from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.workers.lxc.config import HostFacts, plan_config
from supervisor.workers.usb_devices import UsbDevice, read_devices, set_addresses

STICK = UsbDevice(bus=1, device=4, vendor=0x0951, product=0x1666)
TWIN = UsbDevice(bus=2, device=7, vendor=0x0951, product=0x1666)
BY_NAME = "<vendor id='0x0951'/><product id='0x1666'/>"
BY_PLACE = "<address bus='1' device='4'/>"


def domain(said: str, words: str = "") -> Domain:
    text = (
        "<domain type='lxc'><name>box</name><memory unit='MiB'>64</memory>"
        "<os><type arch='x86_64'>exe</type><init>/sbin/init</init></os><devices>"
        "<filesystem type='mount'><source dir='/srv/root'/><target dir='/'/></filesystem>"
        f"<hostdev mode='subsystem' type='usb'><source{words}>{said}</source></hostdev>"
        "</devices></domain>"
    )
    return complete_container(parse_domain(text), "x86_64")


@pytest.mark.parametrize("said", [BY_NAME, BY_PLACE, BY_NAME + BY_PLACE])
def test_a_device_gets_its_node_and_the_right_to_open_it(said: str) -> None:
    model = domain(said)
    set_addresses(model, [STICK, UsbDevice(1, 5, 1, 2)])
    node = "/dev/bus/usb/001/004"
    facts = HostFacts(
        group="g", device_numbers={node: "189:3"}, nodes={node: "/run/box.d/nodes/c-189-3"}
    )
    found = plan_config(model, facts).splitlines()
    assert "lxc.cgroup2.devices.allow = c 189:3 rw" in found
    bound = "/run/box.d/nodes/c-189-3 dev/bus/usb/001/004 none bind,create=file"
    assert f"lxc.mount.entry = {bound}" in found


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(VirError, match="Did not find USB device 0951:1666") as refused:
        set_addresses(domain(BY_NAME), [UsbDevice(1, 5, 1, 2)])
    assert refused.value.code == ErrorCode.INTERNAL_ERROR
    with pytest.raises(VirError, match="0951:1666 bus:1 device:4"):
        set_addresses(domain(BY_NAME + BY_PLACE), [TWIN])


def test_two_alike_are_told_apart_by_their_places_alone() -> None:
    with pytest.raises(
        VirError, match=r"Multiple USB devices for 951:1666, use <address> .*1:4, 2:7"
    ) as refused:
        set_addresses(domain(BY_NAME, " startupPolicy='optional'"), [STICK, TWIN])
    assert refused.value.code == ErrorCode.OPERATION_FAILED
    model = domain(BY_NAME + "<address bus='2' device='7'/>")
    set_addresses(model, [STICK, TWIN])
    assert model.devices.hostdevs[0].source.bus == 2


def test_one_that_may_be_missing_is_left_out() -> None:
    model = domain(BY_NAME, " startupPolicy='optional'")
    set_addresses(model, [])
    assert model.devices.hostdevs[0].source.missing
    facts = HostFacts(group="g", device_numbers={}, nodes={})
    assert "/dev/bus/usb" not in plan_config(model, facts)


def test_one_that_says_too_little_is_refused() -> None:
    model = domain("")
    with pytest.raises(ConfError, match="vendor"):
        check_startable(model)


@pytest.mark.parametrize("said", ["<vendor id='0x0951'/>", "<address bus='1'/>"])
def test_half_a_name_is_refused_in_the_document(said: str) -> None:
    with pytest.raises(ConfError, match=r"missing product|'device'"):
        domain(said)


def test_the_host_s_devices_are_read_and_their_interfaces_left_out(tmp_path: Path) -> None:
    said = {"busnum": "1\n", "devnum": "4\n", "idVendor": "0951\n", "idProduct": "1666\n"}
    for folder, files in (("1-2", said), ("1-2:1.0", {"bInterfaceNumber": "00\n"})):
        (tmp_path / folder).mkdir()
        for name, value in files.items():
            (tmp_path / folder / name).write_text(value)
    assert list(read_devices(tmp_path)) == [STICK]
    with pytest.raises(VirError, match=r"cannot open directory '.*nowhere': No such file"):
        list(read_devices(tmp_path / "nowhere"))
