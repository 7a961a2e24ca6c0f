"""A device of the host that a running guest has is refused to every other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from conf.domain.devices.hostdev import HostAddress, Hostdev, HostdevSource
from rpc.enums import DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.objects.device_lock import exclusive, unused
from supervisor.objects.device_use import HeldDevice, Holder, held_device, taken_devices
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.paths import Paths

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
WAIT_S = 5.0
STICK = HeldDevice("USB device", "001:004")


def stick(bus: int = 1, device: int = 4) -> Hostdev:
    """A device that was found on the host."""
    source = HostdevSource(address=HostAddress(bus=bus, device=device))
    return Hostdev(mode="subsystem", type="usb", source=source)


def run_guest(paths: Paths, name: str, bus: int = 1, device: int = 4) -> Path:
    """Write the status file of a running guest that has a device."""
    path = paths.status(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    address = f"<source><address bus='{bus}' device='{device}'/></source>"
    devices = f"<devices><hostdev type='usb'>{address}</hostdev></devices>"
    live = f"<domain type='qemu'>\n  {devices}\n</domain>"
    status = Status(name=name, uuid=UUID, id=1, state=DomainState.RUNNING, reason=1, pid=42)
    write_status(path, status, live)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.system(tmp_path)


@pytest.mark.parametrize(("driver", "shown"), [("qemu", "QEMU"), ("lxc", "LXC")])
async def test_a_device_of_another_guest_is_refused_by_its_name(
    driver: str, shown: str, paths: Paths
) -> None:
    run_guest(replace(paths, driver=driver), "web")
    with pytest.raises(VirError) as refused:
        async with exclusive(paths, "mail", [stick()]):
            pytest.fail("it was given twice")
    assert refused.value.code is ErrorCode.OPERATION_INVALID
    assert f"USB device 001:004 is in use by driver {shown}, domain web" in str(refused.value)


async def test_a_device_is_free_again_when_its_guest_has_ended(paths: Paths) -> None:
    status = run_guest(paths, "web")
    status.unlink()
    async with exclusive(paths, "mail", [stick()]):
        run_guest(paths, "mail")
    assert taken_devices(paths.run, ("qemu", "web")) == {STICK: Holder("QEMU", "mail")}
    async with exclusive(paths, "mail", [stick()]):  # its own does not count: it is starting again
        pass


async def test_other_devices_and_what_is_missing_are_nobodys_concern(paths: Paths) -> None:
    run_guest(paths, "web", device=5)
    absent = Hostdev(mode="subsystem", type="usb", source=HostdevSource(missing=True))
    async with exclusive(paths, "mail", [stick(), absent]):
        pass
    (paths.status_dir() / "torn.xml").write_text("<domstatus")
    assert taken_devices(paths.run, ("qemu", "mail")) == {
        HeldDevice("USB device", "001:005"): Holder("QEMU", "web")
    }


async def test_of_two_starts_at_once_one_has_the_device(paths: Paths) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with exclusive(paths, "web", [stick()]):
            inside.set()
            await go_on.wait()
            run_guest(paths, "web")

    async def second() -> None:
        async with exclusive(paths, "mail", [stick()]):
            pytest.fail("both have it")

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        await inside.wait()
        late = tasks.create_task(_refusal(second()))
        go_on.set()
    assert "domain web" in late.result()


async def test_no_guest_takes_a_device_while_its_driver_is_changed(paths: Paths) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def change_driver() -> None:
        async with unused(paths.run, STICK):
            inside.set()
            await go_on.wait()
            order.append("driver")

    async def start() -> None:
        async with exclusive(paths, "mail", [stick()]):
            order.append("guest")

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(change_driver())
        await inside.wait()
        tasks.create_task(start())
        await asyncio.sleep(0)
        go_on.set()
    assert order == ["driver", "guest"]


async def test_the_driver_of_a_guests_device_is_not_changed(paths: Paths) -> None:
    run_guest(paths, "web")
    with pytest.raises(VirError, match=r"USB device 001:004 is in use by driver QEMU, domain web"):
        async with unused(paths.run, STICK):
            pytest.fail("the guest has it")


async def _refusal(start: object) -> str:
    with pytest.raises(VirError) as refused:
        await start  # type: ignore[misc]
    return str(refused.value)


def unit(*, shares: bool) -> Hostdev:
    """A unit of a SCSI adapter."""
    source = HostdevSource(adapter="scsi_host2", address=HostAddress(bus=0, target=1, unit=3))
    return Hostdev(mode="subsystem", type="scsi", source=source, shareable=shares)


@pytest.mark.parametrize("both", [True, False])
async def test_a_scsi_unit_is_shared_by_guests_that_say_so(paths: Paths, *, both: bool) -> None:
    path = paths.status("web")
    path.parent.mkdir(parents=True, exist_ok=True)
    live = (
        "<domain type='qemu'><devices><hostdev mode='subsystem' type='scsi'><source>"
        "<adapter name='scsi_host2'/><address bus='0' target='1' unit='3'/></source><shareable/>"
        "</hostdev></devices></domain>"
    )
    status = Status(name="web", uuid=UUID, id=1, state=DomainState.RUNNING, reason=1, pid=42)
    write_status(path, status, live)
    if both:
        async with exclusive(paths, "mail", [unit(shares=True)]):
            return
    with pytest.raises(VirError, match=r"SCSI device 2:0:1:3 is already in use .* 'shareable'"):
        async with exclusive(paths, "mail", [unit(shares=False)]):
            pytest.fail("one of them wants it alone")


@pytest.mark.parametrize(
    ("hostdev", "name"),
    [
        (Hostdev(type="pci", source=HostdevSource(
            address=HostAddress(domain=0, pci_bus=5, slot=2, function=1))),
         "PCI device 0000:05:02.1"),
        (Hostdev(type="scsi_host", source=HostdevSource(protocol="vhost", wwpn="naa.5")),
         "SCSI_host device naa.5"),
        (Hostdev(type="mdev", source=HostdevSource(address=HostAddress(uuid=UUID))),
         f"mediated device /sys/bus/mdev/devices/{UUID}"),
        (Hostdev(type="scsi", source=HostdevSource(protocol="iscsi", name="iqn/1")), "None"),
        (Hostdev(type="usb", source=HostdevSource(missing=True)), "None"),
    ],
)  # fmt: skip
def test_devices_of_each_kind_are_named_as_by_libvirt(hostdev: Hostdev, name: str) -> None:
    assert str(held_device(hostdev)) == name
