"""The device node of a SCSI unit is found in a made-up /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain.devices.hostdev import HostAddress, Hostdev, HostdevSource
from rpc.errors import ErrorCode, VirError
from supervisor.runtime.scsi_devices import generic_node, node


def unit(adapter: str = "scsi_host2", number: int = 3) -> Hostdev:
    """A unit of an adapter."""
    address = HostAddress(bus=0, target=1, unit=number)
    source = HostdevSource(adapter=adapter, address=address)
    return Hostdev(mode="subsystem", type="scsi", source=source)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / "2:0:1:3/scsi_generic/sg7").mkdir(parents=True)
    return tmp_path


def test_a_unit_has_the_node_that_the_kernel_says(devices: Path) -> None:
    assert generic_node(unit(), devices) == "/dev/sg7"


def test_a_unit_that_the_host_lacks_is_refused_as_by_libvirt(devices: Path) -> None:
    with pytest.raises(VirError, match="2:0:1:4/scsi_generic': No such file") as refused:
        generic_node(unit(number=4), devices)
    assert refused.value.code is ErrorCode.SYSTEM_ERROR
    assert node(unit(number=4), devices) == ""


def test_an_adapter_without_a_number_is_refused_as_by_libvirt(devices: Path) -> None:
    with pytest.raises(VirError, match="Cannot parse adapter 'bogus'") as refused:
        generic_node(unit("bogus"), devices)
    assert refused.value.code is ErrorCode.INTERNAL_ERROR


def test_a_disk_over_iscsi_has_no_node(devices: Path) -> None:
    source = HostdevSource(protocol="iscsi", name="iqn/1")
    assert node(Hostdev(type="scsi", source=source), devices) == ""
