"""SR-IOV virtual functions: which of the host's PCI devices a hostdev network may give to guests.

Owns: the checks. May touch: /sys, to read.
Source: libvirt 9.0 formatnetwork, "hostdev"; the kernel's links "physfn" and "virtfn0", "virtfn1"…
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conf.network import ForwardMode, Network, mode_of
from rpc.errors import ErrorCode, ErrorDomain, VirError

SYS: Final = Path("/sys")


def refuse_other_devices(network: Network, sys: Path = SYS) -> None:
    """Refuse a hostdev network of devices that are no virtual functions.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    for address in network.forward.addresses if network.forward is not None else ():
        name = f"{address.domain:04x}:{address.bus:02x}:{address.slot:02x}.{address.function:x}"
        device = sys / "bus/pci/devices" / name
        if not (device / "physfn").exists():
            detail = (
                f"device '{device}' in network '{network.name}' is not an SR-IOV Virtual Function"
            )
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)


def refuse_without_functions(network: Network, sys: Path = SYS) -> None:
    """Refuse to start a network whose physical function has no virtual ones.

    Raises:
        VirError: INTERNAL_ERROR.
    """
    if network.forward is None or mode_of(network) is not ForwardMode.HOSTDEV:
        return
    for function in network.forward.functions:
        if not any((sys / "class/net" / function.dev / "device").glob("virtfn*")):
            detail = f"No usable Vf's present on SRIOV PF {function.dev}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
