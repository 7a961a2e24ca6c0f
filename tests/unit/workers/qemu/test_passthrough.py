"""A guest's PCI devices: named in its status before they change hands, given back at its end."""

from __future__ import annotations

from typing import cast

import pytest

from conf.domain.devices.hostdev import HostAddress, Hostdev, HostdevSource
from ipc import Node
from rpc.enums import DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.pci import PciDevice
from supervisor.workers.qemu import passthrough

UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
HOSTDEV = (
    "<domain type='qemu'><name>web</name><memory>65536</memory><os><type>hvm</type></os><devices>"
    "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
    "<address domain='0' bus='3' slot='0' function='0'/></source></hostdev></devices></domain>"
)

NODE = cast("Node", None)  # asked for nothing where vfio is there


def card(slot: int, *, managed: bool = True) -> Hostdev:
    """A <hostdev> of PCI."""
    source = HostdevSource(address=HostAddress(domain=0, pci_bus=3, slot=slot, function=0))
    return Hostdev(type="pci", managed=managed, source=source)


class Host:
    """A host whose drivers are a table, and what happened in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.refused = ""
        self.status = Status(name="web", uuid=UUID, id=1, state=DomainState.RUNNING, reason=1)
        monkeypatch.setattr(passthrough, "has_vfio", lambda: True)
        monkeypatch.setattr(passthrough, "require_device", lambda _: None)
        monkeypatch.setattr(passthrough, "bind", self.bind)
        monkeypatch.setattr(passthrough, "release", self.release)

    def bind(self, device: PciDevice) -> None:
        if device.address == self.refused:
            raise VirError(ErrorCode.SYSTEM_ERROR, "refused")
        self.events.append(f"bind {device.address}")

    def release(self, device: PciDevice) -> None:
        self.events.append(f"release {device.address}")

    def save(self) -> None:
        self.events.append(f"save {' '.join(self.status.pci_devices)}")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


async def test_a_device_is_named_before_it_changes_hands(host: Host) -> None:
    device = card(1)
    assert await passthrough.take(NODE, [device], host.status, host.save) == ["0000:03:01.0"]
    assert host.events == ["save 0000:03:01.0", "bind 0000:03:01.0"]
    assert device.driver == "vfio"


async def test_if_one_is_refused_all_are_the_hosts_again(host: Host) -> None:
    host.refused = "0000:03:02.0"
    with pytest.raises(VirError, match="refused"):
        await passthrough.take(NODE, [card(1), card(2)], host.status, host.save)
    assert host.events[-3:] == ["release 0000:03:01.0", "release 0000:03:02.0", "save "]


async def test_one_that_is_not_managed_must_be_vfios(host: Host) -> None:
    with pytest.raises(VirError) as refused:
        await passthrough.take(NODE, [card(1, managed=False)], host.status, host.save)
    assert refused.value.code is ErrorCode.OPERATION_INVALID
    assert "must be manually detached from the host" in refused.value.message
    assert host.events == []


async def test_a_host_without_vfio_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passthrough, "has_vfio", lambda: False)
    with pytest.raises(VirError) as refused:
        await passthrough.take(NODE, [card(1)], host.status, host.save)
    assert refused.value.code is ErrorCode.CONFIG_UNSUPPORTED
    assert host.events == []


async def test_a_guest_without_such_devices_costs_nothing(host: Host) -> None:
    usb = Hostdev(type="usb", source=HostdevSource(address=HostAddress(bus=1, device=2)))
    assert await passthrough.take(NODE, [usb], host.status, host.save) == []
    assert host.events == []


async def test_at_its_end_all_that_it_had_goes_back(host: Host) -> None:
    host.status.pci_devices = ["0000:03:07.0"]
    await passthrough.give_back_all(host.status, HOSTDEV)
    assert host.events == ["release 0000:03:00.0", "release 0000:03:07.0"]
