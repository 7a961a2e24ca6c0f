"""The filters and bindings of this host, and their changes.

Owns: both tables, their files, and the order of changes: one at a time.
May touch: the kernel's rules, through `RuleApplier` only. May not touch: guests, taps.

A change is planned for all interfaces that use the filter, committed to the kernel, then stored. If
netd is killed in between, the next one applies what is stored. Bindings are stored before their
rules are installed: the next netd deletes rules without a binding.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import time
from collections.abc import Callable
from uuid import UUID

from conf.errors import ConfError
from conf.nwfilter import (
    FilterBinding,
    format_binding,
    format_filter,
    format_status,
    parse_binding,
    parse_filter,
    parse_status,
)
from conf.nwfilter.binding import DEVICE
from conf.nwfilter.model import Filter
from rpc.errors import ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.netd.firewall.firewall import CHANGE_S
from supervisor.netd.nwfilter.address_learning import lease_from
from supervisor.netd.nwfilter.applier import Executor, RuleApplier
from supervisor.netd.nwfilter.binding_files import BindingFiles, LearnedAddresses
from supervisor.netd.nwfilter.binding_plan import update_addresses
from supervisor.netd.nwfilter.errors import in_use, operation_failed, system_error
from supervisor.netd.nwfilter.filter_files import FilterFiles
from supervisor.netd.nwfilter.packets import AddressEvent
from supervisor.netd.nwfilter.registry import (
    Binding,
    FilterObject,
    FilterRegistry,
    RequiredRules,
)
from supervisor.objects.change_lock import ChangeLock
from supervisor.runtime.shield import run_to_completion

log = logging.getLogger(__name__)


def present_devices() -> set[str]:
    """Return the names of the host's network devices."""
    return {name for _, name in socket.if_nameindex()}


class Filters:
    """All filters and bindings."""

    def __init__(
        self,
        filter_files: FilterFiles,
        binding_files: BindingFiles,
        executor: Executor,
        devices: Callable[[], set[str]] = present_devices,
    ) -> None:
        """Create it empty; `load` reads the disk.

        Args:
            filter_files: the definitions on disk.
            binding_files: the bindings on disk.
            executor: changes the kernel's rules.
            devices: lists the host's network devices.
        """
        self._devices = devices
        self._filter_files = filter_files
        self._binding_files = binding_files
        self._applier = RuleApplier(executor, self._on_event)
        self._lock = ChangeLock("filters", ServiceErrors(ErrorDomain.NWFILTER))
        self.registry = FilterRegistry()
        self._lost_taps: set[str] = set()  # taps that were deleted while no netd ran

    # Changing filters.

    async def define(self, xml: str) -> FilterObject:
        """Define or redefine a filter and update the interfaces that use it.

        Raises:
            ConfError: the XML is not a filter's.
            VirError: OPERATION_FAILED: name and UUID belong to two filters, or it would contain
                itself; INTERNAL_ERROR: it does not fit an interface that uses it; SYSTEM_ERROR.
        """
        return await run_to_completion(self._define(xml))

    async def _define(self, xml: str) -> FilterObject:
        async with self._lock.hold("define", CHANGE_S):
            filter, text = await asyncio.to_thread(self._read, xml)
            obj = self.registry.object_for(filter.name, UUID(filter.uuid).bytes)
            if (obj.definition, obj.xml) == (filter, text):
                return obj
            self.registry.refuse_loop(filter)
            users = self.registry.users(obj.name)
            await self._apply(users, filter)
            try:
                await asyncio.to_thread(self._filter_files.save, obj.name, text)
            except OSError as error:
                await self._apply(users, obj.definition)
                raise system_error(f"store filter '{obj.name}'", error) from error
            obj.definition, obj.xml = filter, text
            self.registry.add(obj)
            return obj

    async def undefine(self, name: str) -> None:
        """Undefine a filter that no interface uses.

        Raises:
            VirError: NO_NWFILTER; OPERATION_INVALID: an interface uses it; SYSTEM_ERROR.
        """
        await run_to_completion(self._undefine(name))

    async def _undefine(self, name: str) -> None:
        async with self._lock.hold("undefine", CHANGE_S):
            obj = self.registry.get_by_name(name)
            for binding in self.registry.users(name):
                raise in_use(name, binding.definition.tap)
            try:
                await asyncio.to_thread(self._filter_files.remove, name)
            except OSError as error:
                raise system_error(f"remove filter '{name}'", error) from error
            self.registry.remove(obj)

    # Changing bindings.

    async def create_binding(self, xml: str) -> Binding:
        """Bind a filter to a tap as a client's XML describes.

        Raises:
            ConfError: the XML is not a binding's.
            VirError: OPERATION_FAILED: the tap has one; as `bind`.
        """
        binding = await asyncio.to_thread(parse_binding, xml)
        return await self.bind(binding, replace=False)

    async def bind(self, binding: FilterBinding, *, replace: bool = True) -> Binding:
        """Bind a filter to a tap; on return its traffic is filtered.

        Args:
            binding: all of it.
            replace: the tap may have another binding, which ends without a gap.

        Raises:
            VirError: INTERNAL_ERROR: a filter is missing or cannot be applied; OPERATION_FAILED:
                there is a binding; SYSTEM_ERROR. On failure nothing has changed.
        """
        return await run_to_completion(self._bind(binding, replace=replace))

    async def _bind(self, binding: FilterBinding, *, replace: bool) -> Binding:
        tap = binding.tap
        if DEVICE.fullmatch(tap) is None:
            raise operation_failed(
                f"'{tap}' cannot be filtered: its name has other than letters and digits"
            )
        xml = await asyncio.to_thread(format_binding, binding)
        async with self._lock.hold("bind", CHANGE_S):
            old = self.registry.bindings.get(tap)
            if old is not None and not replace:
                raise operation_failed(f"binding '{tap}' already exists; delete it first")
            same = old is not None and old.definition.mac == binding.mac
            new = Binding(binding, xml)
            if old is not None and same:
                new = Binding(binding, xml, old.learned, old.expires)
            need = new.plan(self.registry.find_filter)
            await self._save(new)
            try:
                await self._applier.apply({tap: (binding, need)})
            except BaseException:
                await self._restore_file(tap, old)
                raise
            self.registry.bindings[tap] = new
            return new

    async def unbind(self, tap: str) -> None:
        """Delete a tap's binding and its rules.

        Raises:
            VirError: NO_NWFILTER_BINDING; INTERNAL_ERROR, OPERATION_TIMEOUT: rules are left;
                SYSTEM_ERROR: the file is left.
        """
        await run_to_completion(self._unbind(tap))

    async def _unbind(self, tap: str) -> None:
        async with self._lock.hold("unbind", CHANGE_S):
            self.registry.binding(tap)
            await self._applier.remove(tap)
            try:
                await asyncio.to_thread(self._binding_files.remove, tap)
            except OSError as error:
                raise system_error(f"remove the binding of '{tap}'", error) from error
            del self.registry.bindings[tap]

    async def release(self, tap: str) -> None:
        """Delete a tap's binding if it has one.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, SYSTEM_ERROR: some of it is left.
        """
        if tap in self.registry.bindings:
            await self.unbind(tap)

    async def refresh(self) -> None:
        """Install the rules of all bindings again: another program may have changed them.

        Raises:
            VirError: of the executor.
        """
        async with self._lock.hold("refresh", CHANGE_S):
            await self._apply(list(self.registry.bindings.values()), None)

    def close(self) -> None:
        """Stop listening; the rules remain for the next netd."""
        self._applier.close()

    # Inside; the lock is held.

    async def _apply(self, bindings: list[Binding], candidate: Filter | None) -> None:
        """Apply bindings as if a filter were defined as the candidate."""
        required = await asyncio.to_thread(self.registry.required, bindings, candidate)
        await self._applier.apply(required)

    def _read(self, xml: str) -> tuple[Filter, str]:
        """Parse a filter and choose its UUID; return its XML with the UUID, too."""
        filter = parse_filter(xml)
        filter = dataclasses.replace(
            filter, uuid=self.registry.choose_uuid(filter.name, filter.uuid)
        )
        return filter, format_filter(filter)

    async def _save(self, binding: Binding) -> None:
        tap = binding.definition.tap
        try:
            await asyncio.to_thread(
                self._binding_files.save, tap, format_status(binding.definition)
            )
            addresses = LearnedAddresses([*binding.learned], binding.expires)
            await asyncio.to_thread(self._binding_files.save_addresses, tap, addresses)
        except OSError as error:
            raise system_error(f"store the binding of '{tap}'", error) from error

    async def _restore_file(self, tap: str, old: Binding | None) -> None:
        """Restore the file of a binding; the caller reports the first error."""
        try:
            if old is not None:
                await self._save(old)
            else:
                await asyncio.to_thread(self._binding_files.remove, tap)
        except (OSError, VirError) as error:
            log.error("the file of the binding of '%s' cannot be restored: %s", tap, error)

    async def _on_event(self, tap: str, event: AddressEvent) -> bool:
        """Update a binding's addresses and rules; return whether the listener may end."""
        try:
            async with self._lock.hold("learn", CHANGE_S):
                binding = self.registry.bindings.get(tap)
                if binding is None:
                    return True
                addresses = tuple(update_addresses(binding.learned, event))
                lease = lease_from(event, time.time())
                until = lease.expires if lease is not None else None
                new = Binding(binding.definition, binding.xml, addresses, until)
                await self._save(new)
                if set(addresses) == set(binding.learned):
                    self.registry.bindings[tap] = new
                    return True
                log.info("'%s' has %s", tap, ", ".join(addresses) or "no address any more")
                need = new.plan(self.registry.find_filter)
                await self._applier.apply({tap: (new.definition, need)})
                self.registry.bindings[tap] = new
        except VirError as error:
            log.error("the rules of '%s' cannot be updated for a learned address: %s", tap, error)
            return False
        return True

    # Beginning.

    async def load(self, stock: Callable[[], dict[str, str]]) -> None:
        """Read the disk; `recover` applies the bindings.

        Args:
            stock: the filters to begin with on a host that has no folder of them.
        """
        async with self._lock.hold("load", CHANGE_S):
            try:
                await asyncio.to_thread(self._load, stock)
            except OSError as error:
                log.error("network filters are not complete: %s", error)

    async def recover(self) -> None:
        """Apply all bindings after `load`; lists are answered meanwhile, changes wait."""
        async with self._lock.hold("recovery", CHANGE_S):
            try:
                await self._recover()
            except (VirError, OSError) as error:
                log.error("network filters are not complete: %s", error)

    def _load(self, stock: Callable[[], dict[str, str]]) -> None:
        self._filter_files.install(stock)
        for name, xml in self._filter_files.load():
            try:
                filter, text = self._read(xml)
                if filter.uuid not in xml:  # the new UUID has to survive a restart
                    self._filter_files.save(filter.name, text)
                obj = self.registry.object_for(filter.name, UUID(filter.uuid).bytes)
            except (ConfError, VirError, OSError) as error:
                log.error("the filter in %s.xml is passed over: %s", name, error)
                continue
            obj.definition, obj.xml = filter, text
            self.registry.add(obj)
        devices = self._devices()
        for tap, xml, learned in self._binding_files.load():
            try:
                binding = parse_status(xml)
            except ConfError as error:
                log.error("the binding of '%s' is passed over: %s", tap, error)
                continue
            if binding.tap in devices:
                self.registry.bindings[tap] = Binding(
                    binding, format_binding(binding), tuple(learned.addresses), learned.expires
                )
            else:
                log.info("tap '%s' no longer exists: its binding is deleted", tap)
                self._lost_taps.add(tap)

    async def _recover(self) -> None:
        """Apply the bindings and delete the rules of taps that no longer exist.

        The kernel is asked only where there is or was a binding: their files come before rules.
        """
        if not self.registry.bindings and not self._lost_taps:
            return
        self._lost_taps |= await self._applier.stale_taps() - set(self.registry.bindings)
        await self._applier.remove(*sorted(self._lost_taps))
        while self._lost_taps:
            await asyncio.to_thread(self._binding_files.remove, self._lost_taps.pop())
        required: RequiredRules = {}
        for tap, binding in self.registry.bindings.items():
            try:
                required[tap] = (binding.definition, binding.plan(self.registry.find_filter))
            except VirError as error:
                log.error("the rules of '%s' cannot be replaced: %s", tap, error)
        try:
            await self._applier.apply(required)
        except VirError as error:
            log.warning(
                "the rules of all taps cannot be applied at once, trying one by one: %s", error
            )
            await self._one_by_one(required)

    async def _one_by_one(self, required: RequiredRules) -> None:
        for tap, need in required.items():
            try:
                await self._applier.apply({tap: need})
            except VirError as error:
                log.error("the rules of '%s' cannot be replaced: %s", tap, error)
