"""Applies the rules of bindings to the kernel; on failure it restores the previous ones.

Owns: the rules that this netd installed for each tap; the listeners.
May touch: the executor's tables, packet sockets. Callers take turns.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from conf.nwfilter import FilterBinding
from rpc.errors import VirError
from supervisor.netd.nwfilter.address_learning import LearningMode, Listener
from supervisor.netd.nwfilter.binding_plan import BindingPlan
from supervisor.netd.nwfilter.errors import operation_failed
from supervisor.netd.nwfilter.packets import AddressEvent
from supervisor.netd.nwfilter.tap_plan import TapPlan

log = logging.getLogger(__name__)


class Executor(Protocol):
    """A backend that writes the chains of taps: ebtables and iptables, or nftables."""

    async def apply(self, plans: Mapping[str, TapPlan | None]) -> None:
        """Replace the chains of these taps; a tap of None loses its chains."""

    async def taps(self) -> set[str]:
        """Return the taps that have chains."""


class RuleApplier:
    """The rules and listeners of taps."""

    def __init__(
        self, executor: Executor, on_event: Callable[[str, AddressEvent], Awaitable[bool]]
    ) -> None:
        """Create it; `on_event` gets what the listeners learn."""
        self._executor = executor
        self._on_event = on_event
        self._plans: dict[str, TapPlan] = {}
        self._listeners: dict[str, Listener] = {}

    async def apply(self, required: Mapping[str, tuple[FilterBinding, BindingPlan]]) -> None:
        """Replace the rules of bindings; on failure the previous ones are restored.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, CONFIG_UNSUPPORTED: of the executor;
                OPERATION_FAILED: a tap cannot be listened on.
        """
        if not required:
            return
        plans = {tap: need.plan for tap, (_, need) in required.items()}
        opened = self._open(required)
        try:
            await self._executor.apply(plans)
        except BaseException:
            for listener in opened.values():
                listener.close()
            await self._restore(required)
            raise
        self._plans.update(plans)
        for tap, (_, need) in required.items():
            if tap in opened or need.learning is LearningMode.NONE:
                self._close(tap)
        self._listeners.update(opened)

    async def remove(self, *taps: str) -> None:
        """Delete the rules of taps; missing rules are no error.

        Raises:
            VirError: of the backend; some rules may remain.
        """
        if not taps:
            return
        await self._executor.apply(dict.fromkeys(taps))
        for tap in taps:
            self._plans.pop(tap, None)
            self._close(tap)

    async def stale_taps(self) -> set[str]:
        """Return the taps with chains that an earlier netd left.

        Raises:
            VirError: of the executor.
        """
        return await self._executor.taps() - set(self._plans)

    def close(self) -> None:
        """Stop listening; the rules remain."""
        for tap in list(self._listeners):
            self._close(tap)

    def _open(
        self, required: Mapping[str, tuple[FilterBinding, BindingPlan]]
    ) -> dict[str, Listener]:
        """Open listeners before the rules change: the guest may send one packet only."""
        opened: dict[str, Listener] = {}
        for tap, (binding, need) in required.items():
            current = self._listeners.get(tap)
            same = current is not None and current.matches(binding.mac, need.learning)
            if need.learning is LearningMode.NONE or same:
                continue
            listener = Listener(tap, binding.mac, need.learning, self._on_event, need.lease)
            try:
                listener.start()
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ENXIO):
                    # The guest is ending: its tap vanishes before its binding does. There is
                    # nothing to filter or to learn, and libvirt does not report it either.
                    log.info("tap '%s' no longer exists: its address is not learned", tap)
                    continue
                for other in opened.values():
                    other.close()
                detail = f"cannot listen on '{tap}' for its guest's address: {error.strerror}"
                raise operation_failed(detail) from error
            opened[tap] = listener
        return opened

    async def _restore(self, required: Mapping[str, tuple[FilterBinding, BindingPlan]]) -> None:
        """Restore the previous rules; the caller reports the first error."""
        try:
            await self._executor.apply({tap: self._plans.get(tap) for tap in required})
        except VirError as error:
            log.error("the previous rules of %s cannot be restored: %s", ", ".join(required), error)

    def _close(self, tap: str) -> None:
        listener = self._listeners.pop(tap, None)
        if listener is not None:
            listener.close()
