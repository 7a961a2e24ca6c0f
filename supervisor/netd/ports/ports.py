"""Guests' cards, plugged in and out.

Owns: taps and macvtaps of guests, and the ports of networks that they are.
May touch: links, /dev/net/tun, the records and ports on disk, filters; each through its module.
May not touch: what a card is plugged into (`supervisor.netd.ports.plan`), networks themselves.

A tap is gone when the last process that has it open ends; what netd notes of it goes with
`DetachPort`. A macvtap stays until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID, uuid4

from conf.domain.devices.interface import Bandwidth, FilterRef, Interface
from conf.errors import ConfError
from conf.mapper import Mode, parse, write
from conf.network import NetworkPort, format_port
from ipc import Descriptor, Done, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.calls import of_conf
from supervisor.finishing import finish
from supervisor.jobs import Job
from supervisor.messages.netd import (
    Attached,
    AttachPort,
    DetachPort,
    SetBandwidth,
    SetLink,
    UpdatePort,
)
from supervisor.netd import taps
from supervisor.netd.bandwidth import give, limits_of, plan_limits, plan_removal
from supervisor.netd.entry import Entry
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.links import Links
from supervisor.netd.ports.plan import (
    Plugging,
    describe_port,
    live_interface,
    plug_interface,
    plug_into,
)
from supervisor.netd.ports.records import GENERATED, NAME, Record, Records
from supervisor.netd.ports.scripts import run_script, try_script
from supervisor.netd.registry import Registry, not_active
from supervisor.netd.store import Store
from supervisor.netd.sysctl import Sysctl
from supervisor.netd.words import invalid, needs_system_daemon, system_error

NAMES: Final = 64  # names that are tried before giving up
MAX_CARDS: Final = 16384  # of one network

log = logging.getLogger(__name__)


class Filters(Protocol):
    """The packet filters of single cards (`supervisor.netd.nwfilter`)."""

    async def apply(self, tap: str, mac: str, filterref: FilterRef, domain: str, uuid: str) -> None:
        """Have exactly this filter on a card."""

    async def drop(self, tap: str) -> None:
        """Have no filter on a card."""


@dataclass(slots=True)
class Opened:
    """A device that was just made."""

    name: str
    taps: list[int]
    vhosts: list[int]


class Ports:
    """Every port of every guest."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        records: Records,
        links: Links,
        sysctl: Sysctl,
        hooks: NetworkHooks,
        filters: Filters | None,
        *,
        session: bool,
    ) -> None:
        """Work on these."""
        self._registry = registry
        self._store = store
        self._records = records
        self._links = links
        self._sysctl = sysctl
        self._hooks = hooks
        self._filters = filters
        self._session = session
        self._turns: dict[str, Job] = {}

    # What workers ask.

    @handles(AttachPort)
    async def attach(self, request: AttachPort) -> Attached:
        """Plug a card in."""
        if self._session:
            raise needs_system_daemon("an interface that is plugged into the host's network")
        interface = read_interface(request.interface)
        async with self._turn(request.uuid).hold("attach"), self._network_held(interface):
            return await finish(self._attach(request, interface))

    @handles(DetachPort)
    async def detach(self, request: DetachPort) -> Done:
        """Plug a card out, or all of a guest's."""
        async with self._turn(request.uuid).hold("detach"):
            for record in self._records.of_guest(request.uuid):
                if request.tap in ("", record.device):
                    await finish(self._detach(record))
        if not self._records.of_guest(request.uuid):
            self._turns.pop(request.uuid, None)
        return Done()

    @handles(SetLink)
    async def set_link(self, request: SetLink) -> Done:
        """Bring the host's side of a card up or down."""
        record = self._record(request.uuid, request.tap)
        with refusals(f"cannot set the link of '{record.device}'"):
            await self._links.change(record.device, state="up" if request.up else "down")
        return Done()

    @handles(SetBandwidth)
    async def set_bandwidth(self, request: SetBandwidth) -> Done:
        """Limit a card's traffic."""
        record = self._record(request.uuid, request.tap)
        bandwidth = read_bandwidth(request.bandwidth) if request.bandwidth else None
        with refusals(f"cannot limit the traffic of '{record.device}'"):
            await self._limit(record.device, bandwidth)
        interface = read_interface(record.interface)
        interface.bandwidth = bandwidth
        await self._note(record, interface)
        return Done()

    async def limit_port(self, port: str, bandwidth: Bandwidth) -> None:
        """Limit the device of a network's port, where it is one of ours."""
        record = next((each for each in self._records if each.port == port), None)
        if record is not None:
            with refusals(f"cannot limit the traffic of '{record.device}'"):
                await self._limit(record.device, bandwidth)
            interface = read_interface(record.interface)
            interface.bandwidth = bandwidth
            await self._note(record, interface)

    @handles(UpdatePort)
    async def update(self, request: UpdatePort) -> Attached:
        """Plug a card in elsewhere, or change its filter or limits."""
        interface = read_interface(request.interface)
        async with self._turn(request.uuid).hold("update"):
            record = self._record(request.uuid, request.tap)
            async with self._network_held(interface):
                return await finish(self._update(record, interface))

    async def restore(self, network: str = "", own_bridge: str = "") -> None:
        """Plug the cards of running guests in again where they are not.

        After a restart of netd, of every network; after the start of a network, of that one, whose
        guests ran on without it.

        Args:
            network: its UUID as text; "": of every network and bridge.
            own_bridge: that network's, which cards may name instead of the network.
        """
        found = {link.name: link for link in await self._links.all()}
        for record in self._records:
            card, bridge = found.get(record.device), found.get(record.bridge)
            if card is None or bridge is None:
                continue
            if network not in ("", record.network) and record.bridge != own_bridge:
                continue
            try:
                await self._restore(record, joined=card.master == bridge.index)
            except (OSError, TimeoutError, VirError) as problem:
                log.error("'%s' of %s is not plugged in: %s", record.device, record.domain, problem)

    async def _restore(self, record: Record, *, joined: bool) -> None:
        interface = read_interface(record.interface)
        entry = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if entry is None or entry.running is None:
            if not joined and not record.network:
                await self._join(record.device, interface, plug_interface(interface))
            return
        plugging = plug_into(interface, entry.running.network, self.used(entry))
        if not joined:
            await self._join(record.device, interface, plugging)
        port = UUID(record.port)
        if port.bytes not in entry.running.ports:
            described = describe_port(interface, plugging, port, record.domain, record.uuid)
            await self._keep_port(entry, port, described)

    async def sweep(self) -> None:
        """Forget cards whose device has gone: their worker died before it could say so."""
        if not self.any():
            return
        known = list(self._records)  # before the devices: one that is being made is not in it
        found = {link.name for link in await self._links.all()}
        for record in known:
            if record.device not in found:
                async with self._turn(record.uuid).hold("sweep"):
                    if self._records.get(record.device) is record:
                        log.info("'%s' of %s has gone", record.device, record.domain)
                        await finish(self._detach(record))

    def any(self) -> bool:
        """Whether any card is plugged in."""
        return any(True for _ in self._records)

    def used(self, entry: Entry) -> dict[str, int]:
        """How many cards use each device of the host by a network."""
        ports = entry.running.ports.values() if entry.running is not None else ()
        plugs = [port.plug for port in ports if port.plug is not None]
        return dict(Counter(plug.dev for plug in plugs if plug.dev))

    @contextlib.asynccontextmanager
    async def _network_held(self, interface: Interface) -> AsyncIterator[None]:
        """Keep the network that a card names, if any, from stopping meanwhile."""
        name = interface.source.network if interface.source is not None else None
        entry = self._registry.by_name(name) if name else None
        if entry is None:
            yield
            return
        async with entry.job.hold("attach a card"):
            yield

    # Attaching.

    async def _attach(self, request: AttachPort, interface: Interface) -> Attached:
        entry, plugging = self._plugging(interface)
        async with AsyncExitStack() as rollback:
            uuid, port = uuid4(), None
            if entry is not None:
                port = describe_port(interface, plugging, uuid, request.domain, request.uuid)
                rollback.push_async_callback(self._forget_port, entry, uuid.bytes)
                await self._keep_port(entry, uuid, port)
            opened = await self._open(request, interface, plugging, rollback)
            live = live_interface(
                interface, plugging, opened.name, str(uuid) if entry is not None else ""
            )
            await self._plug_in(opened.name, interface, plugging)
            if interface.type == "ethernet" and interface.script:
                await run_script(interface.script, opened.name)
            record = Record(
                device=opened.name,
                kind="macvtap" if plugging.is_direct else "tap",
                domain=request.domain,
                uuid=request.uuid,
                mac=interface.mac or "",
                interface=write_interface(live),
                network=entry.uuid_text if entry is not None else "",
                port=str(uuid) if entry is not None else "",
                bridge=plugging.bridge,
            )
            with refusals(f"cannot note the port '{opened.name}'"):
                rollback.callback(self._records.forget, opened.name)
                self._records.note(record)
            if interface.filterref is not None:
                await self._filter(record, interface.filterref)
            mtu = await self._mtu(interface, plugging)
            rollback.pop_all()
        return Attached(
            interface=record.interface,
            tap=opened.name,
            taps=[Descriptor(fd) for fd in opened.taps],
            vhosts=[Descriptor(fd) for fd in opened.vhosts],
            host_mtu=mtu,
        )

    def _plugging(self, interface: Interface) -> tuple[Entry | None, Plugging]:
        """The network of a card, if it is one's, and what it is plugged into.

        Raises:
            VirError: NO_NETWORK; OPERATION_INVALID for a network that is off; those of the plan.
        """
        name = interface.source.network if interface.source is not None else None
        if not name:
            return None, plug_interface(interface)
        entry = self._registry.named(name)
        if entry.running is None:
            raise not_active(entry)
        if len(entry.running.ports) >= MAX_CARDS:
            raise invalid(f"network '{name}' has {MAX_CARDS} cards already")
        return entry, plug_into(interface, entry.running.network, self.used(entry))

    async def _keep_port(self, entry: Entry, uuid: UUID, port: NetworkPort) -> None:
        """Note a port of a network; the hook script may refuse it."""
        assert entry.running is not None, "a network that is off has no ports"
        await self._hooks.ask(entry.running.network, "port-created", port)
        with refusals(f"cannot note the port {uuid}"):
            text = format_port(port)
            await asyncio.to_thread(self._store.save_port, entry.name, str(uuid), text)
        if entry.running is None:
            raise not_active(entry)
        entry.running.ports[uuid.bytes] = port

    async def _forget_port(self, entry: Entry, uuid: bytes) -> None:
        port = entry.running.ports.pop(uuid, None) if entry.running is not None else None
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._store.remove_port, entry.name, str(UUID(bytes=uuid)))
        if port is not None and entry.running is not None:
            await self._hooks.tell(entry.running.network, "port-deleted", port)

    async def _open(
        self,
        request: AttachPort,
        interface: Interface,
        plugging: Plugging,
        rollback: AsyncExitStack,
    ) -> Opened:
        """Make the device and open it."""
        wanted = request.tap or interface.target_dev or ""
        if GENERATED.fullmatch(wanted) and not request.tap:
            wanted = ""  # what an earlier guest was given
        if wanted and not NAME.fullmatch(wanted):
            detail = f"'{wanted}' cannot name a network device: 15 bytes at most, no space, no '/'"
            raise VirError(ErrorCode.XML_ERROR, detail, ErrorDomain.NETWORK)
        for _ in range(1 if wanted else NAMES):
            name = wanted or self._records.next_name(plugging.prefix)
            try:
                opened = await self._open_named(name, request, interface, plugging)
            except OSError as problem:
                if not wanted and problem.errno in (errno.EEXIST, errno.EBUSY):
                    continue
                doing = f"Unable to create tap device {name}"
                raise system_error(doing, problem) from problem
            rollback.push_async_callback(self._close, opened)
            if plugging.is_direct:
                rollback.push_async_callback(self._links.delete, name)
            return opened
        detail = f"{NAMES} names for a tap device were all taken"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)

    async def _open_named(
        self, name: str, request: AttachPort, interface: Interface, plugging: Plugging
    ) -> Opened:
        if plugging.is_direct:
            found = await self._open_macvtap(name, request.queues, interface, plugging)
        else:
            if await self._links.find(name) is not None and interface.managed_target is not False:
                raise FileExistsError(errno.EEXIST, "there is a device of that name", name)
            found = await asyncio.to_thread(
                taps.open_tap, name, queues=request.queues, user=request.user
            )
        vhosts: list[int] = []
        if request.vhost:
            try:
                vhosts = await asyncio.to_thread(taps.open_vhost, request.queues)
            except BaseException:
                for fd in found:
                    os.close(fd)
                raise
        return Opened(name, found, vhosts)

    async def _open_macvtap(
        self, name: str, queues: int, interface: Interface, plugging: Plugging
    ) -> list[int]:
        lower = await self._links.index(plugging.device)
        await self._links.add(
            name,
            "macvtap",
            link=lower,
            macvtap_mode="passthru" if plugging.mode == "passthrough" else plugging.mode,
            address=interface.mac,
        )
        try:
            await self._links.change(name, state="up")
            index = await self._links.index(name)
            return await asyncio.to_thread(taps.open_macvtap, index, queues=queues)
        except BaseException:
            await self._links.delete(name)
            raise

    async def _close(self, opened: Opened) -> None:
        for fd in (*opened.taps, *opened.vhosts):
            os.close(fd)

    async def _plug_in(self, name: str, interface: Interface, plugging: Plugging) -> None:
        """Make the device carry the guest's packets."""
        with refusals(f"cannot plug '{name}' in"):
            if plugging.is_direct:
                await self._limit(name, plugging.bandwidth)
                return
            options: dict[str, object] = {"address": host_mac(interface.mac or "")}
            if interface.mtu or plugging.mtu:
                options["mtu"] = interface.mtu or plugging.mtu
            await self._links.change(name, **options)
            if plugging.bridge:
                await self._join(name, interface, plugging)
            if interface.link_state != "down":
                await self._links.change(name, state="up")
            await self._limit(name, plugging.bandwidth)

    async def _join(self, name: str, interface: Interface, plugging: Plugging) -> None:
        """Make a tap a port of its bridge."""
        if not interface.mtu and not plugging.mtu:
            bridge = await self._links.find(plugging.bridge)
            if bridge is None:
                detail = f"there is no bridge '{plugging.bridge}'"
                raise OSError(errno.ENODEV, detail, plugging.bridge)
            if bridge.mtu != 1500:
                await self._links.change(name, mtu=bridge.mtu)
        key = f"ipv6/conf/{name}/disable_ipv6"  # the host has no address of its own on a tap
        if await asyncio.to_thread(self._sysctl.read, key) is not None:
            await asyncio.to_thread(self._sysctl.write, key, "1")
        await self._links.enslave(name, plugging.bridge)
        if plugging.isolated:
            await self._links.change_port(name, isolated=1)
        if not plugging.learns:
            await self._links.change_port(name, learning=0, unicast_flood=0)
            await self._links.forward_to(name, interface.mac or "", on=True)

    async def _limit(self, name: str, bandwidth: Bandwidth | None) -> None:
        """Have exactly these limits on a device."""
        await self._links.traffic(
            lambda ip, index: give(ip, index, plan_removal(), removing=True), name
        )
        limits = limits_of(bandwidth)
        if limits is not None:
            orders = plan_limits(limits, shared=False)
            await self._links.traffic(lambda ip, index: give(ip, index, orders), name)

    async def _mtu(self, interface: Interface, plugging: Plugging) -> int:
        return interface.mtu or plugging.mtu

    async def _filter(self, record: Record, filterref: FilterRef | None) -> None:
        """Have exactly this filter on a card.

        Raises:
            VirError: CONFIG_UNSUPPORTED where there are no filters.
        """
        if self._filters is None:
            if filterref is not None:
                detail = f"<filterref filter='{filterref.filter}'> cannot be applied here"
                raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.NETWORK)
            return
        if filterref is None:
            await self._filters.drop(record.device)
        else:
            await self._filters.apply(
                record.device, record.mac, filterref, record.domain, record.uuid
            )

    # Detaching and changing.

    async def _detach(self, record: Record) -> None:
        """Remove everything of a card; what is gone already is no error."""
        if self._filters is not None:
            try:
                await self._filters.drop(record.device)
            except VirError as problem:
                log.error("the filter of '%s' is not removed: %s", record.device, problem)
        interface = read_interface(record.interface)
        if interface.type == "ethernet" and interface.down_script:
            await try_script(interface.down_script, record.device)
        try:
            if record.kind == "macvtap":
                await self._links.delete(record.device)
        except (OSError, TimeoutError) as problem:
            log.error("'%s' is not removed: %s", record.device, problem)
        entry = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if entry is not None and record.port:
            await self._forget_port(entry, UUID(record.port).bytes)
        try:
            self._records.forget(record.device)
        except OSError as problem:
            log.error("the port '%s' is not forgotten: %s", record.device, problem)

    async def _update(self, record: Record, interface: Interface) -> Attached:
        entry, plugging = self._plugging(interface)
        if plugging.is_direct or record.kind == "macvtap":
            detail = "a direct interface cannot be plugged in elsewhere while its guest runs"
            raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.NETWORK)
        before = read_interface(record.interface)
        uuid, port = uuid4(), None
        async with AsyncExitStack() as rollback:
            if entry is not None:
                port = describe_port(interface, plugging, uuid, record.domain, record.uuid)
                rollback.push_async_callback(self._forget_port, entry, uuid.bytes)
                await self._keep_port(entry, uuid, port)
            with refusals(f"cannot plug '{record.device}' in elsewhere"):
                if plugging.bridge and plugging.bridge != record.bridge:
                    rollback.push_async_callback(self._rejoin, record, before)
                    await self._join(record.device, interface, plugging)
                rollback.push_async_callback(self._limit, record.device, before.bandwidth)
                await self._limit(record.device, plugging.bandwidth)
            live = live_interface(
                interface, plugging, record.device, str(uuid) if entry is not None else ""
            )
            if interface.filterref != before.filterref:
                rollback.push_async_callback(self._filter, record, before.filterref)
                await self._filter(record, interface.filterref)
            changed = Record(
                device=record.device,
                kind=record.kind,
                domain=record.domain,
                uuid=record.uuid,
                mac=record.mac,
                interface=write_interface(live),
                network=entry.uuid_text if entry is not None else "",
                port=str(uuid) if entry is not None else "",
                bridge=plugging.bridge,
            )
            with refusals(f"cannot note the port '{record.device}'"):
                self._records.note(changed)
            rollback.pop_all()
        former = self._registry.by_uuid(UUID(record.network).bytes) if record.network else None
        if former is not None and record.port:
            await self._forget_port(former, UUID(record.port).bytes)
        return Attached(
            interface=changed.interface, tap=record.device, taps=[], vhosts=[], host_mtu=0
        )

    async def _rejoin(self, record: Record, before: Interface) -> None:
        if record.bridge:
            await self._links.enslave(record.device, record.bridge)

    async def _note(self, record: Record, interface: Interface) -> None:
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        with refusals(f"cannot note the port '{record.device}'"):
            self._records.note(Record(**{**fields, "interface": write_interface(interface)}))

    def _record(self, uuid: str, device: str) -> Record:
        record = self._records.get(device)
        if record is None or record.uuid != uuid:
            raise invalid(f"the guest {uuid} has no port '{device}'")
        return record

    def _turn(self, uuid: str) -> Job:
        """One change of a guest's ports after the other."""
        return self._turns.setdefault(uuid, Job(f"ports of {uuid}", ErrorDomain.NETWORK))


class refusals(contextlib.AbstractContextManager[None]):
    """Make the kernel's errors the caller's."""

    def __init__(self, doing: str) -> None:
        """Name what is being done."""
        self._doing = doing

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise SYSTEM_ERROR in an OSError's place."""
        if isinstance(error, TimeoutError):
            detail = f"{self._doing}: the kernel did not answer in time"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from error
        if isinstance(error, OSError):
            raise system_error(self._doing, error) from error


def read_interface(xml: str) -> Interface:
    """Read an <interface>.

    Raises:
        VirError: XML_ERROR and the like.
    """
    try:
        return parse(Interface, xml)
    except ConfError as problem:
        raise of_conf(problem, ErrorDomain.NETWORK) from problem


def read_bandwidth(xml: str) -> Bandwidth:
    """Read a <bandwidth>.

    Raises:
        VirError: XML_ERROR and the like.
    """
    try:
        return parse(Bandwidth, xml)
    except ConfError as problem:
        raise of_conf(problem, ErrorDomain.NETWORK) from problem


def write_interface(interface: Interface) -> str:
    """Write an <interface> as a running guest has it."""
    return write(interface, Mode(live=True, secure=True))


def host_mac(mac: str) -> str:
    """The address of the host's side of a card: so high that no bridge takes it as its own."""
    return f"fe{mac[2:]}" if mac else ""
