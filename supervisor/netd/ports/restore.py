"""Attaches interfaces of running guests again: after netd's restart, and after a network's start.

Owns: nothing. May touch: the bridges of taps, and ports of networks, through their modules.
May not touch: records, definitions of networks.

Guests run on while their network is stopped or netd does not run; a bridge that was made anew has
none of its ports.
"""

from __future__ import annotations

import logging
from uuid import UUID

from rpc.errors import VirError
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network.network import NetworkObject, bridge_of
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.interface_xml import read_interface
from supervisor.netd.ports.network_ports import NetworkPorts
from supervisor.netd.ports.plan import describe_port, plan_attach, plan_interface
from supervisor.netd.ports.records import PortRecord, PortRecords
from supervisor.netd.ports.virtual_switch import is_driven

log = logging.getLogger(__name__)


class PortRestorer:
    """Attaches what lost its bridge."""

    def __init__(
        self,
        network_ports: NetworkPorts,
        records: PortRecords,
        links: Rtnetlink,
        devices: PortDevices,
    ) -> None:
        self._network_ports = network_ports
        self._records = records
        self._links = links
        self._devices = devices

    async def restore(self, obj: NetworkObject | None = None) -> None:
        """Attach running guests' interfaces again where they lost their bridge.

        Failures are logged.

        Args:
            obj: the network; None: the interfaces that name no network, but a bridge.
        """
        try:
            if obj is None:
                await self._restore_all("", "")
            else:
                await self._restore_all(obj.uuid_text, bridge_of(obj.current))
        except (OSError, TimeoutError) as error:
            log.error("guests' interfaces cannot be checked: %s", error)

    async def _restore_all(self, network: str, own_bridge: str) -> None:
        """Attach the interfaces of one network.

        Args:
            network: its UUID as text; "": the interfaces that name no network, but a bridge.
            own_bridge: the network's bridge, which interfaces may name instead of the network.
        """
        records = [
            record
            for record in self._records
            if record.network == network or (own_bridge and record.bridge == own_bridge)
        ]
        # A switch of its own keeps its ports: its taps have no bridge of the kernel's.
        records = [
            record
            for record in records
            if not is_driven(read_interface(record.interface).virtualport)
        ]
        if not records:
            return  # the links are listed only where it matters: a host may have thousands
        links = {link.name: link for link in await self._links.links()}
        for record in records:
            device, bridge = links.get(record.device), links.get(record.bridge)
            if device is None or bridge is None:
                continue
            try:
                await self._restore(record, joined=device.master == bridge.index)
            except (OSError, TimeoutError, VirError) as error:
                log.error(
                    "'%s' of domain '%s' cannot be attached: %s",
                    record.device,
                    record.domain,
                    error,
                )

    async def _restore(self, record: PortRecord, *, joined: bool) -> None:
        interface = read_interface(record.interface)
        obj = self._network_ports.network(record.network)
        if obj is None or obj.runtime is None:
            if not joined and not record.network:
                await self._devices.set_master(record.device, interface, plan_interface(interface))
            return
        users = self._network_ports.device_users(obj)
        plan = plan_attach(interface, obj.runtime.network, users)
        if not joined:
            await self._devices.set_master(record.device, interface, plan)
        port = UUID(record.port)
        if port.bytes not in obj.runtime.ports:
            described = describe_port(interface, plan, port, record.domain, record.uuid)
            await self._network_ports.add(obj, port, described)
