"""Attaches and detaches guests' interfaces.

Owns: taps and macvtaps of guests, and the ports of networks that they are.
May touch: links, /dev/net/tun, the records and ports on disk, filters; each through its module.
May not touch: what a card is plugged into (`supervisor.netd.ports.plan`), networks themselves.

A tap is gone when the last process that has it open ends; what netd notes of it goes with
`DetachPort`. A macvtap or veth stays until then. A macvlan is in its container's namespace, where
netd does not see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final, Protocol
from uuid import UUID, uuid4

from conf.domain.devices.interface import FilterRef, Interface
from conf.network import NetworkPort, format_port
from conf.types.bandwidth import Bandwidth
from ipc import Ack, Descriptor, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.messages.netd import (
    AttachPort,
    DetachPort,
    PortAttached,
    SetBandwidth,
    SetLink,
    UpdatePort,
)
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject
from supervisor.netd.network.registry import NetworkRegistry, not_active
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.ifup_scripts import run_script, try_script
from supervisor.netd.ports.interface_xml import (
    KernelErrors,
    read_bandwidth,
    read_interface,
    write_interface,
)
from supervisor.netd.ports.plan import (
    PortPlan,
    describe_port,
    live_interface,
    plan_attach,
    plan_interface,
)
from supervisor.netd.ports.records import PortRecord, PortRecords
from supervisor.objects.change_lock import ChangeLock
from supervisor.runtime.shield import run_to_completion

MAX_PORTS: Final = 16384  # of one network
DIRECT_KINDS: Final = ("macvtap", "macvlan")

log = logging.getLogger(__name__)


class Filters(Protocol):
    """Network filters of interfaces (`supervisor.netd.nwfilter`)."""

    async def apply(self, tap: str, mac: str, filterref: FilterRef, domain: str, uuid: str) -> None:
        """Bind a filter to an interface."""

    async def remove(self, tap: str) -> None:
        """Remove an interface's filter."""


class Ports:
    """The ports of all guests."""

    def __init__(
        self,
        registry: NetworkRegistry,
        store: NetworkFiles,
        records: PortRecords,
        links: Rtnetlink,
        sysctl: Sysctl,
        hooks: NetworkHooks,
        filters: Filters | None,
        *,
        session: bool,
    ) -> None:
        self._registry = registry
        self._store = store
        self._records = records
        self._links = links
        self._devices = PortDevices(links, sysctl, records)
        self._hooks = hooks
        self._filters = filters
        self._session = session
        self._locks: dict[str, ChangeLock] = {}

    # Requests of workers.

    @handles(AttachPort)
    async def attach(self, request: AttachPort) -> PortAttached:
        """Attach an interface: create its device and port."""
        if self._session:
            raise NETWORK_ERRORS.needs_system_daemon(
                "an interface on the host's network",
                "use <interface type='user'>",
            )
        interface = read_interface(request.interface)
        async with self._lock(request.uuid).hold("attach"), self._network_held(interface):
            return await run_to_completion(self._attach(request, interface))

    @handles(DetachPort)
    async def detach(self, request: DetachPort) -> Ack:
        """Detach an interface, or all of a guest."""
        async with self._lock(request.uuid).hold("detach"):
            for record in self._records.for_domain(request.uuid):
                if request.tap in ("", record.device):
                    await run_to_completion(self._detach(record))
        if not self._records.for_domain(request.uuid):
            self._locks.pop(request.uuid, None)
        return Ack()

    @handles(SetLink)
    async def set_link(self, request: SetLink) -> Ack:
        """Set the link state of a tap."""
        record = self._record(request.uuid, request.tap)
        with KernelErrors(f"cannot set the link of '{record.device}'"):
            await self._links.set_link(record.device, state="up" if request.up else "down")
        return Ack()

    @handles(SetBandwidth)
    async def set_bandwidth(self, request: SetBandwidth) -> Ack:
        """Set the bandwidth limits of an interface."""
        record = self._record(request.uuid, request.tap)
        bandwidth = read_bandwidth(request.bandwidth) if request.bandwidth else None
        with KernelErrors(f"cannot limit the traffic of '{record.device}'"):
            await self._devices.set_bandwidth(record.device, bandwidth)
        interface = read_interface(record.interface)
        interface.bandwidth = bandwidth
        await self._save(record, interface)
        return Ack()

    async def limit_port(self, port: str, bandwidth: Bandwidth) -> None:
        """Set the bandwidth limits of a network port's device, if a guest of ours has it."""
        record = next((candidate for candidate in self._records if candidate.port == port), None)
        if record is not None:
            with KernelErrors(f"cannot limit the traffic of '{record.device}'"):
                await self._devices.set_bandwidth(record.device, bandwidth)
            interface = read_interface(record.interface)
            interface.bandwidth = bandwidth
            await self._save(record, interface)

    @handles(UpdatePort)
    async def update(self, request: UpdatePort) -> PortAttached:
        """Attach an interface to another network, or change its filter or limits."""
        interface = read_interface(request.interface)
        async with self._lock(request.uuid).hold("update"):
            record = self._record(request.uuid, request.tap)
            async with self._network_held(interface):
                return await run_to_completion(self._update(record, interface))

    async def restore(self, network: str = "", own_bridge: str = "") -> None:
        """Attach running guests' interfaces again where they lost their bridge.

        After a restart of netd, for every network; after the start of a network, for that one: its
        guests ran on while it was stopped.

        Args:
            network: its UUID as text; "": of every network and bridge.
            own_bridge: that network's bridge, which interfaces may name instead of the network.
        """
        links = {link.name: link for link in await self._links.links()}
        for record in self._records:
            device, bridge = links.get(record.device), links.get(record.bridge)
            if device is None or bridge is None:
                continue
            if network not in ("", record.network) and record.bridge != own_bridge:
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
        entry = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if entry is None or entry.runtime is None:
            if not joined and not record.network:
                await self._devices.set_master(record.device, interface, plan_interface(interface))
            return
        plan = plan_attach(interface, entry.runtime.network, self.device_users(entry))
        if not joined:
            await self._devices.set_master(record.device, interface, plan)
        port = UUID(record.port)
        if port.bytes not in entry.runtime.ports:
            described = describe_port(interface, plan, port, record.domain, record.uuid)
            await self._save_port(entry, port, described)

    async def collect_garbage(self) -> None:
        """Remove ports whose device is gone: the worker died before it could detach."""
        if not self.any():
            return
        records = list(self._records)  # before the devices: one that is being made is not in it
        links = {link.name for link in await self._links.links()}
        for record in records:
            if record.device not in links and record.kind != "macvlan":
                async with self._lock(record.uuid).hold("sweep"):
                    if self._records.get(record.device) is record:
                        log.info(
                            "'%s' of domain '%s' no longer exists", record.device, record.domain
                        )
                        await run_to_completion(self._detach(record))

    def any(self) -> bool:
        """Return whether any interface is attached."""
        return any(True for _ in self._records)

    def device_users(self, entry: NetworkObject) -> dict[str, int]:
        """Count a network's interfaces on each device of the host."""
        ports = entry.runtime.ports.values() if entry.runtime is not None else ()
        plugs = [port.plug for port in ports if port.plug is not None]
        return dict(Counter(plug.dev for plug in plugs if plug.dev))

    @contextlib.asynccontextmanager
    async def _network_held(self, interface: Interface) -> AsyncIterator[None]:
        """Hold the change lock of the interface's network, so that it cannot stop meanwhile."""
        name = interface.source.network if interface.source is not None else None
        entry = self._registry.by_name(name) if name else None
        if entry is None:
            yield
            return
        async with entry.change_lock.hold("attach interface"):
            yield

    # Attaching.

    async def _attach(self, request: AttachPort, interface: Interface) -> PortAttached:
        entry, plan = self._plan(interface)
        async with AsyncExitStack() as rollback:
            uuid, port = uuid4(), None
            if entry is not None:
                port = describe_port(interface, plan, uuid, request.domain, request.uuid)
                rollback.push_async_callback(self._remove_port, entry, uuid.bytes)
                await self._save_port(entry, uuid, port)
            opened = await self._devices.open(request, interface, plan, rollback)
            live = live_interface(
                interface, plan, opened.name, str(uuid) if entry is not None else ""
            )
            await self._devices.attach(opened.name, interface, plan)
            if interface.type == "ethernet" and interface.script:
                await run_script(interface.script, opened.name)
            record = PortRecord(
                device=opened.name,
                kind=opened.kind,
                domain=request.domain,
                uuid=request.uuid,
                mac=interface.mac or "",
                interface=write_interface(live),
                network=entry.uuid_text if entry is not None else "",
                port=str(uuid) if entry is not None else "",
                bridge=plan.bridge,
            )
            with KernelErrors(f"cannot store port '{opened.name}'"):
                rollback.callback(self._records.remove, opened.name)
                self._records.save(record)
            if interface.filterref is not None:
                await self._apply_filter(record, interface.filterref)
            mtu = interface.mtu or plan.mtu
            rollback.pop_all()
        return PortAttached(
            interface=record.interface,
            tap=opened.name,
            taps=[Descriptor(fd) for fd in opened.taps],
            vhosts=[Descriptor(fd) for fd in opened.vhosts],
            host_mtu=mtu,
            peer=opened.peer,
        )

    def _plan(self, interface: Interface) -> tuple[NetworkObject | None, PortPlan]:
        """Return the interface's network, if it names one, and its attachment.

        Raises:
            VirError: NO_NETWORK; OPERATION_INVALID for a network that is off; those of the plan.
        """
        name = interface.source.network if interface.source is not None else None
        if not name:
            return None, plan_interface(interface)
        entry = self._registry.get_by_name(name)
        if entry.runtime is None:
            raise not_active(entry)
        if len(entry.runtime.ports) >= MAX_PORTS:
            raise NETWORK_ERRORS.operation_invalid(
                f"network '{name}' has {MAX_PORTS} ports already"
            )
        return entry, plan_attach(interface, entry.runtime.network, self.device_users(entry))

    async def _save_port(self, entry: NetworkObject, uuid: UUID, port: NetworkPort) -> None:
        """Store a port of a network after the hook script has agreed."""
        assert entry.runtime is not None, "a network that is off has no ports"
        await self._hooks.run(entry.runtime.network, "port-created", port)
        with KernelErrors(f"cannot store port {uuid}"):
            text = format_port(port)
            await asyncio.to_thread(self._store.save_port, entry.name, str(uuid), text)
        if entry.runtime is None:
            raise not_active(entry)
        entry.runtime.ports[uuid.bytes] = port

    async def _remove_port(self, entry: NetworkObject, uuid: bytes) -> None:
        port = entry.runtime.ports.pop(uuid, None) if entry.runtime is not None else None
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._store.remove_port, entry.name, str(UUID(bytes=uuid)))
        if port is not None and entry.runtime is not None:
            await self._hooks.notify(entry.runtime.network, "port-deleted", port)

    async def _apply_filter(self, record: PortRecord, filterref: FilterRef | None) -> None:
        """Replace the filter of an interface.

        Raises:
            VirError: CONFIG_UNSUPPORTED where there are no filters.
        """
        if self._filters is None:
            if filterref is not None:
                detail = f"<filterref filter='{filterref.filter}'> cannot be applied here"
                raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
            return
        if filterref is None:
            await self._filters.remove(record.device)
        else:
            await self._filters.apply(
                record.device, record.mac, filterref, record.domain, record.uuid
            )

    # Detaching and changing.

    async def _detach(self, record: PortRecord) -> None:
        """Remove an interface's device, filter, port and record; missing ones are no error."""
        if self._filters is not None:
            try:
                await self._filters.remove(record.device)
            except VirError as error:
                log.error("the filter of '%s' is not removed: %s", record.device, error)
        interface = read_interface(record.interface)
        if interface.type == "ethernet" and interface.down_script:
            await try_script(interface.down_script, record.device)
        try:
            if record.kind != "tap":
                await self._links.delete(record.device)
        except (OSError, TimeoutError) as error:
            log.error("'%s' is not removed: %s", record.device, error)
        entry = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if entry is not None and record.port:
            await self._remove_port(entry, UUID(record.port).bytes)
        try:
            self._records.remove(record.device)
        except OSError as error:
            log.error("the port '%s' is not forgotten: %s", record.device, error)

    async def _update(self, record: PortRecord, interface: Interface) -> PortAttached:
        entry, plan = self._plan(interface)
        if plan.is_direct or record.kind in DIRECT_KINDS:
            detail = "a direct interface cannot be attached to another device while its guest runs"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.NETWORK)
        before = read_interface(record.interface)
        uuid, port = uuid4(), None
        async with AsyncExitStack() as rollback:
            if entry is not None:
                port = describe_port(interface, plan, uuid, record.domain, record.uuid)
                rollback.push_async_callback(self._remove_port, entry, uuid.bytes)
                await self._save_port(entry, uuid, port)
            with KernelErrors(f"cannot attach '{record.device}' to another bridge"):
                if plan.bridge and plan.bridge != record.bridge:
                    rollback.push_async_callback(self._rejoin, record)
                    await self._devices.set_master(record.device, interface, plan)
                rollback.push_async_callback(
                    self._devices.set_bandwidth, record.device, before.bandwidth
                )
                await self._devices.set_bandwidth(record.device, plan.bandwidth)
            live = live_interface(
                interface, plan, record.device, str(uuid) if entry is not None else ""
            )
            if interface.filterref != before.filterref:
                rollback.push_async_callback(self._apply_filter, record, before.filterref)
                await self._apply_filter(record, interface.filterref)
            changed = PortRecord(
                device=record.device,
                kind=record.kind,
                domain=record.domain,
                uuid=record.uuid,
                mac=record.mac,
                interface=write_interface(live),
                network=entry.uuid_text if entry is not None else "",
                port=str(uuid) if entry is not None else "",
                bridge=plan.bridge,
            )
            with KernelErrors(f"cannot store port '{record.device}'"):
                self._records.save(changed)
            rollback.pop_all()
        previous = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if previous is not None and record.port:
            await self._remove_port(previous, UUID(record.port).bytes)
        return PortAttached(
            interface=changed.interface, tap=record.device, taps=[], vhosts=[], host_mtu=0
        )

    async def _rejoin(self, record: PortRecord) -> None:
        if record.bridge:
            await self._links.set_master(record.device, record.bridge)

    async def _save(self, record: PortRecord, interface: Interface) -> None:
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        with KernelErrors(f"cannot store port '{record.device}'"):
            self._records.save(PortRecord(**{**fields, "interface": write_interface(interface)}))

    def _record(self, uuid: str, device: str) -> PortRecord:
        record = self._records.get(device)
        if record is None or record.uuid != uuid:
            raise NETWORK_ERRORS.operation_invalid(f"the guest {uuid} has no port '{device}'")
        return record

    def _lock(self, uuid: str) -> ChangeLock:
        """Return the change lock of a guest's interfaces."""
        return self._locks.setdefault(uuid, ChangeLock(f"ports of {uuid}", NETWORK_ERRORS))
