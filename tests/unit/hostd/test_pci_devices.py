"""PCI devices are taken from the host and given back, unless a running guest has them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from ipc import Node
from rpc.enums import DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.hostd.calls import pci_device
from supervisor.hostd.calls.node_device import NodeDeviceCalls
from supervisor.hostd.calls.pci_device import PciDeviceCalls
from supervisor.hostd.devices.sysfs import HostDevice
from supervisor.messages.calls import Client, Identity
from supervisor.objects.domain_status_xml import Status, write_status
from supervisor.runtime.paths import Paths
from supervisor.runtime.pci import PciDevice
from tests.unit.runtime.pci_under_test import PciBus

CALL = ClientCall(
    Client(id="1", identity=Identity(), read_only=False, uri="qemu:///system", driver="qemu")
)
CARD, NAME = "0000:03:00.0", "pci_0000_03_00_0"

NODE = cast("Node", None)  # asked for nothing where vfio is there


class Host:
    """A host with a card, an interface, and vfio."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths.system(root)
        self.card = PciBus(root, monkeypatch).add(CARD, "e1000e")
        devices = [HostDevice(NAME, "pci", self.card.folder), HostDevice("computer", "system")]
        self.calls = PciDeviceCalls(NODE, NodeDeviceCalls(lambda: devices), self.paths.run)
        monkeypatch.setattr(pci_device, "has_vfio", lambda: True)
        monkeypatch.setattr(pci_device, "pci_of", lambda device: self._pci(device))

    def _pci(self, device: HostDevice) -> PciDevice:
        assert device.name == NAME
        return self.card

    def run_guest(self) -> None:
        """Have a running guest that has the card."""
        path = self.paths.status("web")
        path.parent.mkdir(parents=True)
        address = "<address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/>"
        hostdev = f"<hostdev type='pci'><source>{address}</source></hostdev>"
        uuid = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
        status = Status(name="web", uuid=uuid, id=1, state=DomainState.RUNNING, reason=1, pid=42)
        live = f"<domain type='qemu'>\n  <devices>{hostdev}</devices>\n</domain>"
        write_status(path, status, live)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


async def test_a_device_is_detached_and_attached_again(host: Host) -> None:
    await host.calls.node_device_dettach(CALL, NAME)
    assert host.card.driver == "vfio-pci"
    await host.calls.node_device_reset(CALL, NAME)  # vfio does it
    await host.calls.node_device_re_attach(CALL, NAME)
    assert host.card.driver == "e1000e"


async def test_a_device_of_a_running_guest_stays_with_it(host: Host) -> None:
    host.run_guest()
    for call in (host.calls.node_device_dettach, host.calls.node_device_re_attach):
        with pytest.raises(VirError) as refused:
            await call(CALL, NAME)
        assert refused.value.code is ErrorCode.OPERATION_INVALID
        assert f"PCI device {CARD} is in use by driver QEMU, domain web" in str(refused.value)
    assert host.card.driver == "e1000e"


@pytest.mark.parametrize(
    ("driver", "code", "message"),
    [
        ("kvm", ErrorCode.ARGUMENT_UNSUPPORTED, "KVM device assignment is no longer supported"),
        ("xen", ErrorCode.INVALID_ARG, "unknown driver name 'xen'"),
    ],
)
async def test_other_drivers_are_refused(
    host: Host, driver: str, code: ErrorCode, message: str
) -> None:
    with pytest.raises(VirError, match=message) as refused:
        await host.calls.node_device_detach_flags(CALL, NAME, driver, 0)
    assert refused.value.code is code


async def test_a_host_without_vfio_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pci_device, "has_vfio", lambda: False)
    with pytest.raises(VirError, match="VFIO device assignment is currently not supported"):
        await host.calls.node_device_detach_flags(CALL, NAME, "vfio", 0)


async def test_what_is_not_on_the_bus_is_refused() -> None:
    with pytest.raises(VirError, match="device computer is not a PCI device"):
        pci_device.pci_of(HostDevice("computer", "system"))
    device = pci_device.pci_of(HostDevice(NAME, "pci", Path("/sys/devices") / CARD))
    assert device.address == CARD
