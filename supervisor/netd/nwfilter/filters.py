"""The filters and bindings of this host, and every change of them.

Owns: both tables, their files, and the order of changes: one at a time.
May touch: the kernel's rules, through `Kernel` alone. May not touch: guests, taps.

A change is planned for all cards that it concerns, then the kernel has it in one commit a table,
then the disk. What is killed in between is repaired by the next netd, which gives the kernel what
the disk says. Bindings are on disk first: rules without a binding are taken away by the next netd.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
from conf.nwfilter.model import Filter, Reference
from rpc.errors import ErrorDomain, VirError
from supervisor.finishing import finish
from supervisor.netd.firewall.turn import Turn
from supervisor.netd.nwfilter.bindings import BindingFiles
from supervisor.netd.nwfilter.errors import failed, in_use, no_binding, no_filter, not_written
from supervisor.netd.nwfilter.kernel import Executor, Kernel
from supervisor.netd.nwfilter.packets import Told
from supervisor.netd.nwfilter.planning import Needed, after, needed
from supervisor.netd.nwfilter.store import FilterFiles
from supervisor.netd.nwfilter.tree import references

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Defined:
    """A filter as it is defined."""

    filter: Filter
    uuid: str
    xml: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding as it stands."""

    binding: FilterBinding
    xml: str
    learned: tuple[str, ...] = ()


def present_devices() -> set[str]:
    """The network devices of this host."""
    return {name for _, name in socket.if_nameindex()}


class Filters:
    """Every filter and every binding."""

    def __init__(
        self,
        filter_files: FilterFiles,
        binding_files: BindingFiles,
        executor: Executor,
        devices: Callable[[], set[str]] = present_devices,
    ) -> None:
        """Know nothing yet; `load` reads the disk.

        Args:
            filter_files: where filters are kept.
            binding_files: where bindings are kept.
            executor: changes the kernel's rules.
            devices: lists the host's network devices.
        """
        self._devices = devices
        self._filter_files = filter_files
        self._binding_files = binding_files
        self._kernel = Kernel(executor, self._learned)
        self._turn = Turn("filters", ErrorDomain.NWFILTER)
        self._filters: dict[str, Defined] = {}
        self._bound: dict[str, Bound] = {}
        self._gone: set[str] = set()  # taps that have gone while no netd ran

    # Looking up.

    def all(self) -> list[Defined]:
        """Every filter."""
        return list(self._filters.values())

    def by_name(self, name: str) -> Defined:
        """A filter.

        Raises:
            VirError: NO_NWFILTER.
        """
        if name not in self._filters:
            raise no_filter(f"with matching name '{name}'")
        return self._filters[name]

    def by_uuid(self, identity: str) -> Defined:
        """A filter.

        Raises:
            VirError: NO_NWFILTER.
        """
        for defined in self._filters.values():
            if defined.uuid == identity:
                return defined
        raise no_filter(f"with matching uuid '{identity}'")

    def bindings(self) -> list[Bound]:
        """Every binding."""
        return list(self._bound.values())

    def binding(self, tap: str) -> Bound:
        """A tap's binding.

        Raises:
            VirError: NO_NWFILTER_BINDING.
        """
        if tap not in self._bound:
            raise no_binding(tap)
        return self._bound[tap]

    # Changing filters.

    async def define(self, xml: str) -> Defined:
        """Define a filter, or another content for it; cards that use it change at once.

        Raises:
            ConfError: the document is none of a filter.
            VirError: OPERATION_FAILED: name and UUID belong to two filters, or it would contain
                itself; INTERNAL_ERROR: a card that uses it cannot have it; SYSTEM_ERROR: not kept.
        """
        return await finish(self._define(xml))

    async def _define(self, xml: str) -> Defined:
        async with self._turn:
            new = await asyncio.to_thread(self._read, xml)
            name = new.filter.name
            old = self._filters.get(name)
            if old == new:
                return new
            self._refuse_loop(new.filter)
            users = self._users(name)
            await self._have(users, new.filter)
            try:
                await asyncio.to_thread(self._filter_files.save, name, new.xml)
            except OSError as problem:
                await self._have(users, old.filter if old is not None else None)
                raise not_written(f"filter '{name}'", problem) from problem
            self._filters[name] = new
            return new

    async def undefine(self, name: str) -> None:
        """Undefine a filter that no card uses.

        Raises:
            VirError: NO_NWFILTER; OPERATION_INVALID: a card uses it; SYSTEM_ERROR: not removed.
        """
        await finish(self._undefine(name))

    async def _undefine(self, name: str) -> None:
        async with self._turn:
            self.by_name(name)
            for bound in self._users(name):
                raise in_use(name, bound.binding.tap)
            try:
                await asyncio.to_thread(self._filter_files.remove, name)
            except OSError as problem:
                raise not_written(f"that filter '{name}' is gone", problem) from problem
            del self._filters[name]

    # Changing bindings.

    async def create_binding(self, xml: str) -> Bound:
        """Bind a filter to a tap, as a client's document says.

        Raises:
            ConfError: the document is none of a binding.
            VirError: OPERATION_FAILED: the tap has one; as `bind`.
        """
        binding = await asyncio.to_thread(parse_binding, xml)
        return await self.bind(binding, replace=False)

    async def bind(self, binding: FilterBinding, *, replace: bool = True) -> Bound:
        """Bind a filter to a tap; on return its traffic is filtered.

        Args:
            binding: all of it.
            replace: the tap may have another binding, which ends without a gap.

        Raises:
            VirError: INTERNAL_ERROR: a filter is missing or cannot be applied; OPERATION_FAILED:
                there is a binding; SYSTEM_ERROR: not kept. There is then what was before.
        """
        return await finish(self._bind(binding, replace=replace))

    async def _bind(self, binding: FilterBinding, *, replace: bool) -> Bound:
        tap = binding.tap
        xml = await asyncio.to_thread(format_binding, binding)
        async with self._turn:
            old = self._bound.get(tap)
            if old is not None and not replace:
                raise failed(f"binding '{tap}' already exists; delete it first")
            same = old is not None and old.binding.mac == binding.mac
            new = Bound(binding, xml, old.learned if old is not None and same else ())
            need = needed(binding, new.learned, self._find)
            await self._keep(new)
            try:
                await self._kernel.have({tap: (binding, need)})
            except BaseException:
                await self._keep_again(tap, old)
                raise
            self._bound[tap] = new
            return new

    async def unbind(self, tap: str) -> None:
        """Let a tap's traffic pass unfiltered.

        Raises:
            VirError: NO_NWFILTER_BINDING; INTERNAL_ERROR, OPERATION_TIMEOUT: rules are left;
                SYSTEM_ERROR: the file is left.
        """
        await finish(self._unbind(tap))

    async def _unbind(self, tap: str) -> None:
        async with self._turn:
            self.binding(tap)
            await self._kernel.drop(tap)
            try:
                await asyncio.to_thread(self._binding_files.remove, tap)
            except OSError as problem:
                raise not_written(f"that the binding of '{tap}' is gone", problem) from problem
            del self._bound[tap]

    async def release(self, tap: str) -> None:
        """As `unbind`, for a tap that may have no binding.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, SYSTEM_ERROR: some of it is left.
        """
        if tap in self._bound:
            await self.unbind(tap)

    async def refresh(self) -> None:
        """Give the kernel again what every binding needs: another program may have changed it.

        Raises:
            VirError: of the executor.
        """
        async with self._turn:
            await self._have(self._bound.values(), None)

    def close(self) -> None:
        """Stop listening; rules stay for the next netd."""
        self._kernel.close()

    # Inside; the turn is held.

    def _find(self, name: str) -> Filter | None:
        defined = self._filters.get(name)
        return defined.filter if defined is not None else None

    def _users(self, name: str) -> list[Bound]:
        """The bindings whose filter is this one or refers to it."""
        return [
            bound
            for bound in self._bound.values()
            if name in references(bound.binding.filter, self._find)
        ]

    async def _have(self, bindings: Iterable[Bound], candidate: Filter | None) -> None:
        """Give the kernel what bindings need if a filter were the candidate."""

        def find(name: str) -> Filter | None:
            if candidate is not None and name == candidate.name:
                return candidate
            return self._find(name)

        wanted: dict[str, tuple[FilterBinding, Needed]] = {
            bound.binding.tap: (bound.binding, needed(bound.binding, bound.learned, find))
            for bound in bindings
        }
        await self._kernel.have(wanted)

    def _read(self, xml: str) -> Defined:
        filter = parse_filter(xml)
        filter = dataclasses.replace(filter, uuid=self._choose_uuid(filter.name, filter.uuid))
        return Defined(filter, filter.uuid, format_filter(filter))

    def _choose_uuid(self, name: str, wanted: str) -> str:
        """The UUID that a definition gets.

        Raises:
            VirError: OPERATION_FAILED: name and UUID belong to two filters.
        """
        own = self._filters.get(name)
        if own is not None and wanted not in ("", own.uuid):
            raise failed(f"filter '{name}' already exists with uuid {own.uuid}")
        for other in self._filters.values():
            if other.uuid == wanted and other.filter.name != name:
                detail = f"filter with same UUID but different name ('{other.filter.name}')"
                raise failed(f"{detail} already exists")
        return own.uuid if own is not None else wanted or str(uuid.uuid4())

    def _refuse_loop(self, new: Filter) -> None:
        for entry in new.entries:
            if isinstance(entry, Reference) and new.name in references(entry.filter, self._find):
                raise failed(f"filter would introduce a loop: '{entry.filter}' uses '{new.name}'")

    async def _keep(self, bound: Bound) -> None:
        tap = bound.binding.tap
        try:
            await asyncio.to_thread(self._binding_files.save, tap, format_status(bound.binding))
            await asyncio.to_thread(self._binding_files.save_addresses, tap, [*bound.learned])
        except OSError as problem:
            raise not_written(f"the binding of '{tap}'", problem) from problem

    async def _keep_again(self, tap: str, old: Bound | None) -> None:
        """Put the file of a binding back; the failure that led here is what counts."""
        try:
            if old is not None:
                await self._keep(old)
            else:
                await asyncio.to_thread(self._binding_files.remove, tap)
        except (OSError, VirError) as problem:
            log.error("the file of the binding of '%s' is not what it was: %s", tap, problem)

    async def _learned(self, tap: str, told: Told) -> None:
        """A listener has found something out."""
        try:
            async with self._turn:
                bound = self._bound.get(tap)
                if bound is None:
                    return
                addresses = tuple(after(bound.learned, told))
                if set(addresses) == set(bound.learned):
                    return
                log.info("'%s' has %s", tap, ", ".join(addresses) or "no address any more")
                new = Bound(bound.binding, bound.xml, addresses)
                await self._keep(new)
                need = needed(new.binding, addresses, self._find)
                await self._kernel.have({tap: (new.binding, need)})
                self._bound[tap] = new
        except VirError as problem:
            log.error("'%s' keeps its rules though its address is known: %s", tap, problem)

    # Beginning.

    async def load(self, stock: Callable[[], dict[str, str]]) -> None:
        """Read the disk, then give the kernel what it says.

        Args:
            stock: the filters to begin with on a host that has no folder of them.

        Raises:
            OSError: the folder cannot be made.
        """
        async with self._turn:
            await asyncio.to_thread(self._load, stock)
            try:
                await self._take_over()
            except (VirError, OSError) as problem:
                log.error("what filters guests' traffic is left as it was found: %s", problem)

    def _load(self, stock: Callable[[], dict[str, str]]) -> None:
        self._filter_files.install(stock())
        for name, xml in self._filter_files.load():
            try:
                defined = self._read(xml)
                if defined.uuid not in xml:  # it gets one for good
                    self._filter_files.save(defined.filter.name, defined.xml)
            except (ConfError, VirError, OSError) as problem:
                log.error("the filter in %s.xml is passed over: %s", name, problem)
                continue
            self._filters[defined.filter.name] = defined
        devices = self._devices()
        for tap, xml, learned in self._binding_files.load():
            try:
                binding = parse_status(xml)
            except ConfError as problem:
                log.error("the binding of '%s' is passed over: %s", tap, problem)
                continue
            if binding.tap in devices:
                self._bound[tap] = Bound(binding, format_binding(binding), tuple(learned))
            else:
                log.info("'%s' has gone: its binding ends", tap)
                self._gone.add(tap)

    async def _take_over(self) -> None:
        """Have what the bindings say, and nothing of those whose tap has gone.

        The kernel is asked only where there is or was a binding: their files come before rules.
        """
        if not self._bound and not self._gone:
            return
        self._gone |= await self._kernel.leftovers() - set(self._bound)
        await self._kernel.drop(*sorted(self._gone))
        while self._gone:
            await asyncio.to_thread(self._binding_files.remove, self._gone.pop())
        wanted: dict[str, tuple[FilterBinding, Needed]] = {}
        for tap, bound in self._bound.items():
            try:
                wanted[tap] = (bound.binding, needed(bound.binding, bound.learned, self._find))
            except VirError as problem:
                log.error("'%s' keeps the rules it has: %s", tap, problem)
        try:
            await self._kernel.have(wanted)
        except VirError as problem:
            log.warning("not all cards can be filtered at once, so one by one: %s", problem)
            await self._one_by_one(wanted)

    async def _one_by_one(self, wanted: dict[str, tuple[FilterBinding, Needed]]) -> None:
        for tap, need in wanted.items():
            try:
                await self._kernel.have({tap: need})
            except VirError as problem:
                log.error("'%s' keeps the rules it has: %s", tap, problem)
