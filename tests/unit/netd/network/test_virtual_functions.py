"""Hostdev networks: of virtual functions alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.network import Network, parse_network
from rpc.errors import ErrorCode, VirError
from supervisor.netd.network.virtual_functions import refuse_other_devices, refuse_without_functions

ADDRESS = "<address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/>"


def hostdev(devices: str) -> Network:
    return parse_network(
        f"<network><name>n</name><forward mode='hostdev'>{devices}</forward></network>"
    )


def test_a_device_that_is_no_virtual_function_is_refused(tmp_path: Path) -> None:
    device = tmp_path / "bus/pci/devices/0000:3b:02.1"
    with pytest.raises(VirError, match=r"3b:02.1' in network 'n' is not an SR-IOV") as refusal:
        refuse_other_devices(hostdev(ADDRESS), tmp_path)
    assert refusal.value.code is ErrorCode.CONFIG_UNSUPPORTED
    (device / "physfn").mkdir(parents=True)
    refuse_other_devices(hostdev(ADDRESS), tmp_path)


def test_a_physical_function_without_virtual_ones_cannot_start(tmp_path: Path) -> None:
    network = hostdev("<pf dev='eth0'/>")
    with pytest.raises(VirError, match="No usable Vf's present on SRIOV PF eth0") as refusal:
        refuse_without_functions(network, tmp_path)
    assert refusal.value.code is ErrorCode.INTERNAL_ERROR
    (tmp_path / "class/net/eth0/device/virtfn0").mkdir(parents=True)
    refuse_without_functions(network, tmp_path)


def test_other_networks_need_no_virtual_functions(tmp_path: Path) -> None:
    network = parse_network("<network><name>n</name><forward mode='nat' dev='eth0'/></network>")
    refuse_other_devices(network, tmp_path)
    refuse_without_functions(network, tmp_path)
