"""Ports of switches that are driven by programs of their own: Open vSwitch and MidoNet.

Owns: their command lines, and running them. They run with netd's rights: files and networking.
Source: libvirt 9.0, virnetdevopenvswitch.c and virnetdevmidonet.c, measured with programs that
noted their arguments; ovs-vsctl(8).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from conf.types.virtual_port import VirtualPort
from conf.types.vlan import Vlan
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.ports.records import PortRecord
from supervisor.runtime import subprocesses

OPEN_VSWITCH: Final = "openvswitch"
MIDONET: Final = "midonet"
#: ovs-vsctl gives up by itself first (--timeout), and says why.
TIMEOUT_S: Final = 5
PROGRAM_S: Final = 7.0
VSCTL: Final = ("ovs-vsctl", f"--timeout={TIMEOUT_S}")

Run = Callable[[Sequence[str]], Awaitable[subprocesses.CompletedProgram]]

log = logging.getLogger(__name__)


async def run_program(argv: Sequence[str]) -> subprocesses.CompletedProgram:
    """Run a switch's program. Raises as `subprocesses.run`."""
    return await subprocesses.run(argv, deadline_s=PROGRAM_S)


class VirtualSwitches:
    """Adds ports to switches and deletes them."""

    def __init__(self, run: Run = run_program) -> None:
        self._run = run

    async def add(self, record: PortRecord, port: VirtualPort, vlan: Vlan | None) -> None:
        """Make the device of a record a port of the switch that it names.

        Raises:
            VirError: INTERNAL_ERROR: the switch refuses, or is not installed; OPERATION_TIMEOUT.
        """
        if port.type == MIDONET:
            failure = f"Unable to bind port {record.device} to the virtual port {port.interfaceid}"
            argv = ("mm-ctl", "--bind-port", port.interfaceid or "", record.device)
            await self._ask(argv, failure)
        else:
            failure = f"Unable to add port {record.device} to OVS bridge {record.bridge}"
            await self._ask(add_port(record, port, vlan), failure)

    async def delete(self, device: str, port: VirtualPort | None) -> None:
        """Delete a port; a failure is logged, and one that is not there is none."""
        if port is None or port.type not in (OPEN_VSWITCH, MIDONET):
            return
        try:
            if port.type == MIDONET:
                failure = f"Unable to unbind the virtual port {port.interfaceid} from Midonet"
                await self._ask(("mm-ctl", "--unbind-port", port.interfaceid or ""), failure)
            else:
                failure = f"Unable to delete port {device} from OVS"
                await self._ask((*VSCTL, "--", "--if-exists", "del-port", device), failure)
        except VirError as error:
            log.error("%s", error.detail)

    async def change_vlan(self, device: str, vlan: Vlan | None) -> None:
        """Give a port of Open vSwitch other VLAN tags. Raises as `add`."""
        failure = f"Unable to set vlan configuration on port {device}"
        await self._ask(change_vlan(device, vlan), failure)

    async def _ask(self, argv: Sequence[str], failure: str) -> None:
        try:
            ended = await self._run(argv)
        except TimeoutError:
            detail = f"{failure}: {argv[0]} took longer than {PROGRAM_S:.0f} s and was killed"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from None
        except OSError as error:
            detail = f"{failure}: {argv[0]} cannot be executed: {error.strerror}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK) from error
        if ended.code != 0:
            detail = f"{failure}: {ended.output_text}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)


def add_port(record: PortRecord, port: VirtualPort, vlan: Vlan | None) -> list[str]:
    """Build the command that adds a port; a controller finds the guest by its external ids.

    Args:
        record: of the interface.
        port: with the identifier that the document has, or that was made up.
        vlan: tags of the port.
    """
    device, bridge = record.device, record.bridge
    ids = {
        "attached-mac": f'"{record.mac}"',
        "iface-id": f'"{port.interfaceid}"',
        "vm-id": f'"{record.uuid}"',
    }
    if port.profileid:
        ids |= {"port-profile": f'"{port.profileid}"', "ifname": f'"{device}"'}
    ids["iface-status"] = "active"
    argv = [*VSCTL, "--", "--may-exist", "add-port", bridge, device, *vlan_columns(vlan)]
    for name, value in ids.items():
        argv += ["--", "set", "Interface", device, f"external-ids:{name}={value}"]
    return argv


def change_vlan(device: str, vlan: Vlan | None) -> list[str]:
    """Build the command that replaces a port's tags."""
    argv = [*VSCTL]
    for column in ("tag", "trunk", "vlan_mode"):
        argv += ["--", "--if-exists", "clear", "Port", device, column]
    if columns := list(vlan_columns(vlan)):
        argv += ["--", "--if-exists", "set", "Port", device, *columns]
    return argv


def vlan_columns(vlan: Vlan | None) -> Iterator[str]:
    """Build the columns of a port in the switch's database."""
    if vlan is None or not vlan.tags:
        return
    native = next((tag for tag in vlan.tags if tag.native_mode is not None), None)
    if native is not None:
        yield f"vlan_mode=native-{native.native_mode}"
        yield f"tag={native.id}"
    if vlan.trunk:
        yield "trunk=" + ",".join(str(tag.id) for tag in vlan.tags)
    else:
        yield f"tag={vlan.tags[0].id}"


def is_driven(port: VirtualPort | None) -> bool:
    """Return whether a program adds the port to its switch, not the kernel to a bridge."""
    return port is not None and port.type in (OPEN_VSWITCH, MIDONET)
