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
from typing import Final
from uuid import UUID

from conf.domain.devices.interface import Interface
from conf.network import NetworkPort, format_port
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.network.registry import NetworkRegistry, not_active
from supervisor.netd.ports.interface_xml import KernelErrors
from supervisor.netd.ports.plan import PortPlan, plan_attach, plan_interface

MAX_PORTS: Final = 16384  # of one network

log = logging.getLogger(__name__)


class NetworkPorts:
    """The ports of all networks."""

    def __init__(self, registry: NetworkRegistry, files: NetworkFiles, hooks: NetworkHooks) -> None:
        self._registry = registry
        self._files = files
        self._hooks = hooks

    def network(self, uuid: str) -> NetworkObject | None:
        """Return the network of this UUID; None for "" and for an unknown one."""
        return self._registry.by_uuid(UUID(uuid).bytes) if uuid else None

    @contextlib.asynccontextmanager
    async def hold_network(self, interface: Interface) -> AsyncIterator[None]:
        """Hold the change lock of the interface's network, so that it cannot stop meanwhile."""
        name = interface.source.network if interface.source is not None else None
        obj = self._registry.by_name(name) if name else None
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
            VirError: HOOK_SCRIPT_FAILED; SYSTEM_ERROR; OPERATION_INVALID: the network has stopped.
        """
        assert obj.runtime is not None, "an inactive network has no ports"
        await self._hooks.run(obj.runtime.network, "port-created", port)
        await self.save(obj, uuid, port)
        if obj.runtime is None:
            raise not_active(obj)
        obj.runtime.ports[uuid.bytes] = port

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
        port = obj.runtime.ports.pop(uuid.bytes, None) if obj.runtime is not None else None
        if port is not None and obj.runtime is not None:
            await self._hooks.notify(obj.runtime.network, "port-deleted", port)
