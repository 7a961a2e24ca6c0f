"""Attaches and detaches guests' interfaces.

Owns: the taps, macvtaps, veth pairs and macvlans of guests, and their records.
May touch: links, /dev/net/tun, records, ports of networks, filters; each through its module. What
guests lost while netd did not run, `netd.ports.restore` attaches again.
May not touch: definitions of networks.

The kernel deletes a tap with its last descriptor; its record is removed by `DetachPort`. A macvtap
or veth remains until then. A macvlan is in its container's network namespace, invisible to netd.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final, Protocol
from uuid import UUID, uuid4

from msgspec.structs import replace

from conf.domain.devices.interface import FilterRef, Interface, InterfaceSource
from conf.types.bandwidth import Bandwidth
from ipc import Ack, Descriptor, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.messages.netd import (
    AdoptPort,
    AttachPort,
    DetachPort,
    PortAttached,
    SetBandwidth,
    SetLink,
    UpdatePort,
)
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.ifup_scripts import run_script, try_script
from supervisor.netd.ports.interface_xml import (
    KernelErrors,
    read_bandwidth,
    read_interface,
    write_interface,
)
from supervisor.netd.ports.network_ports import NetworkPorts
from supervisor.netd.ports.plan import (
    PortPlan,
    check_limits,
    describe_port,
    live_interface,
    merge_virtual_ports,
    plan_attach,
)
from supervisor.netd.ports.records import PortRecord, PortRecords
from supervisor.netd.ports.virtual_switch import VirtualSwitches, is_driven
from supervisor.objects.change_lock import ChangeLock
from supervisor.runtime.shield import run_to_completion

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
        network_ports: NetworkPorts,
        records: PortRecords,
        links: Rtnetlink,
        devices: PortDevices,
        filters: Filters | None,
        *,
        session: bool,
        switches: VirtualSwitches | None = None,
    ) -> None:
        self._network_ports = network_ports
        self._records = records
        self._links = links
        self._devices = devices
        self._filters = filters
        self._switches = switches or VirtualSwitches()
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
        async with (
            self._lock(request.uuid).hold("attach"),
            self._network_ports.hold_network(interface),
        ):
            return await run_to_completion(self._attach(request, interface))

    @handles(AdoptPort)
    async def adopt(self, request: AdoptPort) -> Ack:
        """Record an interface that libvirt's own daemon attached."""
        interface = read_interface(request.interface)
        if not interface.target_dev:
            raise NETWORK_ERRORS.operation_invalid(
                f"the interface {interface.mac} has no device on the host"
            )
        async with (
            self._lock(request.uuid).hold("adopt"),
            self._network_ports.hold_network(interface),
        ):
            await run_to_completion(self._adopt(request, interface, interface.target_dev))
        return Ack()

    async def _adopt(self, request: AdoptPort, interface: Interface, device: str) -> None:
        source = interface.source or InterfaceSource()
        obj = self._network_ports.by_name(source.network or "")
        record = PortRecord(
            device=device,
            kind="macvtap" if interface.type == "direct" else "tap",
            domain=request.domain,
            uuid=request.uuid,
            mac=interface.mac or "",
            interface=write_interface(interface),
            network=obj.uuid_text if obj is not None else "",
            port=source.portid or "" if obj is not None else "",
            bridge=source.bridge or "",
        )
        with KernelErrors(f"cannot store port '{device}'"):
            self._records.save(record)
        if obj is None or obj.runtime is None or not record.port:
            return
        port = UUID(record.port)
        if port.bytes not in obj.runtime.ports:
            users = self._network_ports.device_users(obj)
            plan = plan_attach(interface, obj.runtime.network, users)
            described = describe_port(interface, plan, port, request.domain, request.uuid)
            await self._network_ports.add(obj, port, described)

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
        bandwidth = read_bandwidth(request.bandwidth) if request.bandwidth else None
        async with self._lock(request.uuid).hold("limit"):
            record = self._record(request.uuid, request.tap)
            await run_to_completion(self._limit_guest(record, bandwidth))
        return Ack()

    async def limit_port(self, port: str, bandwidth: Bandwidth) -> None:
        """Set the bandwidth limits of a network port's device, if a guest of ours has it."""
        record = next((candidate for candidate in self._records if candidate.port == port), None)
        if record is not None:
            interface = read_interface(record.interface)
            check_limits(interface, bandwidth)
            async with self._lock(record.uuid).hold("limit"):
                await run_to_completion(self._limit(record, interface, bandwidth))

    async def _limit_guest(self, record: PortRecord, bandwidth: Bandwidth | None) -> None:
        """Limit a guest's interface and its part of its network; if that fails, neither."""
        interface = read_interface(record.interface)
        check_limits(interface, bandwidth)
        obj = self._network_ports.network(record.network)
        async with AsyncExitStack() as rollback:
            if obj is not None and record.port:
                port, before = UUID(record.port), interface.bandwidth
                await self._network_ports.limit(obj, port, bandwidth)
                rollback.push_async_callback(self._network_ports.limit, obj, port, before)
            await self._limit(record, interface, bandwidth)
            rollback.pop_all()

    async def _limit(
        self, record: PortRecord, interface: Interface, bandwidth: Bandwidth | None
    ) -> None:
        """Limit a device's traffic; if that fails, as before."""
        async with AsyncExitStack() as rollback:
            rollback.push_async_callback(self._set_back, record, interface.bandwidth)
            with KernelErrors(f"cannot limit the traffic of '{record.device}'"):
                await self._devices.set_bandwidth(record.device, bandwidth)
            interface.bandwidth = bandwidth
            self._save(record, interface)
            rollback.pop_all()

    @handles(UpdatePort)
    async def update(self, request: UpdatePort) -> PortAttached:
        """Attach an interface to another network, or change its filter or limits."""
        interface = read_interface(request.interface)
        async with self._lock(request.uuid).hold("update"):
            record = self._record(request.uuid, request.tap)
            async with self._network_ports.hold_network(interface):
                return await run_to_completion(self._update(record, interface))

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

    # Attaching.

    async def _attach(self, request: AttachPort, interface: Interface) -> PortAttached:
        obj, plan = self._network_ports.plan(interface)
        if plan.virtualport is not None:  # a network's own may leave to us what is made up
            plan.virtualport.complete(lambda: str(uuid4()))
        async with AsyncExitStack() as rollback:
            uuid, port = uuid4(), None
            if obj is not None:
                port = describe_port(interface, plan, uuid, request.domain, request.uuid)
                rollback.push_async_callback(self._network_ports.release, obj, uuid)
                await self._network_ports.add(obj, uuid, port)
            opened = await self._devices.open(request, interface, plan, rollback)
            live = live_interface(
                interface, plan, opened.name, str(uuid) if obj is not None else ""
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
                network=obj.uuid_text if obj is not None else "",
                port=str(uuid) if obj is not None else "",
                bridge=plan.bridge,
            )
            with KernelErrors(f"cannot store port '{opened.name}'"):
                rollback.callback(self._records.remove, opened.name)
                self._records.save(record)
            if plan.is_switched and plan.virtualport is not None:
                # The record is there already: should netd die, the next one deletes the port.
                rollback.push_async_callback(self._switches.delete, opened.name, plan.virtualport)
                await self._switches.add(record, plan.virtualport, plan.vlan)
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
        await self._switches.delete(record.device, interface.virtualport)
        if interface.type == "ethernet" and interface.down_script:
            await try_script(interface.down_script, record.device)
        try:
            if record.kind != "tap":
                await self._links.delete(record.device)
        except (OSError, TimeoutError) as error:
            log.error("'%s' is not removed: %s", record.device, error)
        obj = self._network_ports.network(record.network)
        if obj is not None and record.port:
            await self._network_ports.release(obj, UUID(record.port))
        try:
            self._records.remove(record.device)
        except OSError as error:
            log.error("the port '%s' keeps its record: %s", record.device, error)

    async def _update(self, record: PortRecord, interface: Interface) -> PortAttached:
        obj, plan = self._network_ports.plan(interface)
        if plan.is_direct or record.kind in DIRECT_KINDS:
            detail = "a direct interface cannot be attached to another device while its guest runs"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.NETWORK)
        before = read_interface(record.interface)
        if plan.is_switched or is_driven(before.virtualport):
            return await self._update_switched(record, before, interface, plan)
        uuid, port = uuid4(), None
        async with AsyncExitStack() as rollback:
            if obj is not None:
                port = describe_port(interface, plan, uuid, record.domain, record.uuid)
                rollback.push_async_callback(self._network_ports.release, obj, uuid)
                await self._network_ports.add(obj, uuid, port)
            with KernelErrors(f"cannot attach '{record.device}' to another bridge"):
                if plan.bridge and plan.bridge != record.bridge:
                    rollback.push_async_callback(self._rejoin, record)
                    await self._devices.set_master(record.device, interface, plan)
                rollback.push_async_callback(self._set_back, record, before.bandwidth)
                await self._devices.set_bandwidth(record.device, plan.bandwidth)
            live = live_interface(
                interface, plan, record.device, str(uuid) if obj is not None else ""
            )
            if interface.filterref != before.filterref:
                rollback.push_async_callback(self._apply_filter, record, before.filterref)
                await self._apply_filter(record, interface.filterref)
            changed = replace(
                record,
                interface=write_interface(live),
                network=obj.uuid_text if obj is not None else "",
                port=str(uuid) if obj is not None else "",
                bridge=plan.bridge,
            )
            with KernelErrors(f"cannot store port '{record.device}'"):
                self._records.save(changed)
            rollback.pop_all()
        previous = self._network_ports.network(record.network)
        if previous is not None and record.port:
            await self._network_ports.release(previous, UUID(record.port))
        return PortAttached(
            interface=changed.interface, tap=record.device, taps=[], vhosts=[], host_mtu=0
        )

    async def _update_switched(
        self, record: PortRecord, before: Interface, interface: Interface, plan: PortPlan
    ) -> PortAttached:
        """Change the VLAN tags of a switch's port; its guest keeps the switch while it runs."""
        port = merge_virtual_ports((plan.virtualport, before.virtualport))
        if port != before.virtualport or plan.bridge != record.bridge or not plan.is_switched:
            detail = "an interface of a virtual switch cannot be attached to another one"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.NETWORK)
        if plan.vlan != before.vlan:
            await self._switches.change_vlan(record.device, plan.vlan)
        source = before.source or InterfaceSource()
        live = live_interface(interface, plan, record.device, source.portid or "")
        live.virtualport = port
        self._save(record, live)
        return PortAttached(
            interface=write_interface(live), tap=record.device, taps=[], vhosts=[], host_mtu=0
        )

    async def _rejoin(self, record: PortRecord) -> None:
        """Give a device its former bridge; an error is logged, for another one is reported."""
        try:
            if record.bridge:
                await self._links.set_master(record.device, record.bridge)
        except (OSError, TimeoutError) as error:
            log.error("'%s' is not attached to '%s' again: %s", record.device, record.bridge, error)

    async def _set_back(self, record: PortRecord, bandwidth: Bandwidth | None) -> None:
        """Give a device its former limits; an error is logged, for another one is reported."""
        try:
            await self._devices.set_bandwidth(record.device, bandwidth)
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or error
            log.error("'%s' does not have its former limits: %s", record.device, reason)

    def _save(self, record: PortRecord, interface: Interface) -> None:
        with KernelErrors(f"cannot store port '{record.device}'"):
            self._records.save(replace(record, interface=write_interface(interface)))

    def _record(self, uuid: str, device: str) -> PortRecord:
        record = self._records.get(device)
        if record is None or record.uuid != uuid:
            raise NETWORK_ERRORS.operation_invalid(f"the guest {uuid} has no port '{device}'")
        return record

    def _lock(self, uuid: str) -> ChangeLock:
        """Return the change lock of a guest's interfaces."""
        return self._locks.setdefault(uuid, ChangeLock(f"ports of {uuid}", NETWORK_ERRORS))
