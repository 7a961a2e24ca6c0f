"""The ports of networks: in memory, on disk, and announced to the hook script.

Owns: the `<networkport>`s of active networks, whichever interface or client has them.
May touch: port files; the hook script. May not touch: devices (`supervisor.netd.ports.ports`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final
from uuid import UUID

from conf.domain.devices.interface import Interface
from conf.network import NetworkPort, format_port, port_bandwidth
from conf.types.bandwidth import Bandwidth
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.dnsmasq.mac_map import format_macs
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject, NetworkRuntime, bridge_of
from supervisor.netd.network.plan import makes_bridge
from supervisor.netd.network.registry import NetworkRegistry, not_active
from supervisor.netd.ports.floors import Floors
from supervisor.netd.ports.interface_xml import KernelErrors
from supervisor.netd.ports.plan import PortPlan, plan_attach, plan_interface

MAX_PORTS: Final = 16384  # of one network

log = logging.getLogger(__name__)


class NetworkPorts:
    """The ports of all networks."""

    def __init__(
        self, registry: NetworkRegistry, files: NetworkFiles, hooks: NetworkHooks, floors: Floors
    ) -> None:
        self._registry = registry
        self._files = files
        self._hooks = hooks
        self._floors = floors

    def network(self, uuid: str) -> NetworkObject | None:
        """Return the network of this UUID; None for "" and for an unknown one."""
        return self._registry.by_uuid(UUID(uuid).bytes) if uuid else None

    def by_name(self, name: str) -> NetworkObject | None:
        """Return the network of this name; None for "" and for an unknown one."""
        return self._registry.by_name(name) if name else None

    @contextlib.asynccontextmanager
    async def hold_network(self, interface: Interface) -> AsyncIterator[None]:
        """Hold the change lock of the interface's network, so that it cannot stop meanwhile."""
        name = interface.source.network if interface.source is not None else None
        obj = self.by_name(name or "")
        if obj is None:
            yield
            return
        async with obj.change_lock.hold("attach interface"):
            yield

    def plan(self, interface: Interface) -> tuple[NetworkObject | None, PortPlan]:
        """Return the interface's network, if it names one, and its attachment.

        Raises:
            VirError: NO_NETWORK; OPERATION_INVALID: the network is inactive, or has `MAX_PORTS`;
                those of `plan_attach`.
        """
        name = interface.source.network if interface.source is not None else None
        if not name:
            return None, plan_interface(interface)
        obj = self._registry.get_by_name(name)
        if obj.runtime is None:
            raise not_active(obj)
        if len(obj.runtime.ports) >= MAX_PORTS:
            detail = f"network '{name}' has {MAX_PORTS} ports already"
            raise NETWORK_ERRORS.operation_invalid(detail)
        return obj, plan_attach(interface, obj.runtime.network, self.device_users(obj))

    def device_users(self, obj: NetworkObject) -> dict[str, int]:
        """Count a network's ports on each device of the host."""
        ports = obj.runtime.ports.values() if obj.runtime is not None else ()
        plugs = [port.plug for port in ports if port.plug is not None]
        return dict(Counter(plug.dev for plug in plugs if plug.dev))

    async def add(self, obj: NetworkObject, uuid: UUID, port: NetworkPort) -> None:
        """Add a port to an active network after the hook script has agreed.

        Raises:
            VirError: HOOK_SCRIPT_FAILED; SYSTEM_ERROR; OPERATION_INVALID: the network has stopped;
                those of `Floors.reserve`. The caller calls `release` then.
        """
        running = obj.runtime
        assert running is not None, "an inactive network has no ports"
        await self._hooks.run(running.network, "port-created", port)
        await self._floors.reserve(running, port)
        try:
            await self.save(obj, uuid, port)
            if obj.runtime is not running:
                raise not_active(obj)
        except BaseException:
            await self._release_floor(running, port)
            raise
        running.ports[uuid.bytes] = port
        await self._save_macs(obj)

    async def limit(self, obj: NetworkObject, uuid: UUID, bandwidth: Bandwidth | None) -> None:
        """Change a port's limits, and with them its part of the network's bandwidth.

        Raises:
            VirError: those of `Floors.reserve`: nothing has changed; SYSTEM_ERROR.
        """
        running = obj.runtime
        port = running.ports.get(uuid.bytes) if running is not None else None
        if running is None or port is None:
            return  # the network was stopped under its guest
        previous = port.bandwidth
        changed = replace(port, bandwidth=port_bandwidth(bandwidth))
        del running.ports[uuid.bytes]
        try:
            await self._floors.release(running, port)
            await self._floors.reserve(running, changed)
        except BaseException:
            port.bandwidth = port_bandwidth(previous)
            await self._floors.reserve(running, port)
            running.ports[uuid.bytes] = port
            raise
        running.ports[uuid.bytes] = changed
        await self.save(obj, uuid, changed)

    async def save(self, obj: NetworkObject, uuid: UUID, port: NetworkPort) -> None:
        """Write a port's file.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        with KernelErrors(f"cannot store port {uuid}"):
            await asyncio.to_thread(self._files.save_port, obj.name, str(uuid), format_port(port))

    async def delete(self, obj: NetworkObject, uuid: UUID) -> None:
        """Delete a port for a client.

        Raises:
            VirError: SYSTEM_ERROR: the port remains.
        """
        with KernelErrors(f"cannot remove port {uuid}"):
            await asyncio.to_thread(self._files.remove_port, obj.name, str(uuid))
        await self._forget(obj, uuid)

    async def release(self, obj: NetworkObject, uuid: UUID) -> None:
        """Delete the port of an interface that is detached; a missing port is no error."""
        try:
            await asyncio.to_thread(self._files.remove_port, obj.name, str(uuid))
        except OSError as error:
            log.error("port %s of network '%s' cannot be removed: %s", uuid, obj.name, error)
        await self._forget(obj, uuid)

    async def _forget(self, obj: NetworkObject, uuid: UUID) -> None:
        running = obj.runtime
        port = running.ports.pop(uuid.bytes, None) if running is not None else None
        if port is not None and running is not None:
            await self._release_floor(running, port)
            await self._save_macs(obj)
            await self._hooks.notify(running.network, "port-deleted", port)

    async def _release_floor(self, running: NetworkRuntime, port: NetworkPort) -> None:
        try:
            await self._floors.release(running, port)
        except (OSError, TimeoutError) as error:
            log.error("the floor of '%s' is still reserved: %s", port.mac, error)

    async def _save_macs(self, obj: NetworkObject) -> None:
        """Write which domain has which MAC addresses, for libvirt's NSS module."""
        if obj.runtime is None or not makes_bridge(obj.runtime.network):
            return
        text = format_macs(obj.runtime.ports.values())
        try:
            await asyncio.to_thread(self._files.save_macs, bridge_of(obj.runtime.network), text)
        except OSError as error:
            log.error("names of guests of network '%s' are out of date: %s", obj.name, error)
