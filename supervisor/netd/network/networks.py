"""Active networks: start, stop, update, repair.

Owns: the order of plan, hook scripts, steps and status; the servers of running networks.
May touch: the host, through `netd.network.step_executor`; the files. May not touch: definitions.

The caller holds the network's job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from conf.errors import ConfError
from conf.network import Network
from rpc.enums import NetworkEventLifecycleType as Lifecycle
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network import steps
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject, NetworkRuntime, bridge_of
from supervisor.netd.network.network_services import NetworkServices
from supervisor.netd.network.plan import firewall_facts, makes_bridge, plan_start, subnets_of
from supervisor.netd.network.registry import NetworkRegistry
from supervisor.netd.network.route_conflicts import find_conflict
from supervisor.netd.network.status_xml import format_status
from supervisor.netd.network.step_executor import StepExecutor, run_steps
from supervisor.netd.network.steps import Step
from supervisor.netd.network.virtual_functions import refuse_without_functions
from supervisor.runtime.shield import run_to_completion

START_S: Final = 60.0

log = logging.getLogger(__name__)


class Networks:
    """Starts and stops networks."""

    def __init__(
        self,
        registry: NetworkRegistry,
        files: NetworkFiles,
        executor: StepExecutor,
        links: Rtnetlink,
        services: NetworkServices,
        hooks: NetworkHooks,
        publisher: Publisher,
        keep_running: KeepRunningVote,
        *,
        session: bool,
    ) -> None:
        self._registry = registry
        self._files = files
        self._executor = executor
        self._links = links
        self._services = services
        self._hooks = hooks
        self._publisher = publisher
        self._keep_running = keep_running
        self._session = session
        self.after_start: list[Callable[[NetworkObject], Awaitable[None]]] = []

    async def start(self, obj: NetworkObject, network: Network) -> None:
        """Start an inactive network; on failure every step is undone.

        Raises:
            VirError: OPERATION_INVALID when it runs; INTERNAL_ERROR for a subnet or bridge in use;
                SYSTEM_ERROR; OPERATION_DENIED for a user's own daemon; HOOK_SCRIPT_FAILED.
        """
        if obj.is_active:
            raise NETWORK_ERRORS.operation_invalid("network is already active")
        if self._session:
            raise NETWORK_ERRORS.needs_system_daemon(
                f"starting network '{network.name}'", "use <interface type='user'>"
            )
        await run_to_completion(self._start(obj, network))

    async def _start(self, obj: NetworkObject, network: Network) -> None:
        await self._check(network)
        await self._hooks.run(network, "start")
        running = NetworkRuntime(network)
        try:
            # Before the first step: where this process is killed, the next netd finds what to undo.
            # Nothing else on disk names a transient network's bridge.
            await self._save(obj, running, starting=True)
            async with asyncio.timeout(START_S):
                await run_steps(self._plan(network), self._executor.do, self._executor.undo)
            await self._save(obj, running)
        except BaseException as error:
            await self._clear(network)
            await self._remove_status(obj)
            await self._hooks.notify(network, "stopped", sub="end")
            if isinstance(error, TimeoutError):
                detail = f"network '{network.name}' was not up in {START_S:.0f} s"
                raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.NETWORK) from error
            raise
        obj.runtime = running
        self._registry.add(obj)
        self._publisher.lifecycle(obj, Lifecycle.STARTED)
        self.count()
        for callback in self.after_start:
            await callback(obj)
        await self._hooks.notify(network, "started")

    async def stop(self, obj: NetworkObject) -> None:
        """Stop an active network.

        Raises:
            VirError: OPERATION_INVALID when it is off.
        """
        if obj.runtime is None:
            raise NETWORK_ERRORS.operation_invalid(f"network '{obj.name}' is not active")
        await run_to_completion(self._stop(obj))

    async def _stop(self, obj: NetworkObject) -> None:
        assert obj.runtime is not None, "only a running network is stopped"
        network = obj.runtime.network
        await self._clear(network)
        await self._remove_status(obj)
        obj.runtime = None
        if obj.definition is None:
            self._registry.remove(obj)
            await self.forget_guests(network)
        self._publisher.lifecycle(obj, Lifecycle.STOPPED)
        self.count()
        await self._hooks.notify(network, "stopped", sub="end")

    async def forget_guests(self, network: Network) -> None:
        """Remove the leases and MAC addresses of a network that is neither active nor defined."""
        if not makes_bridge(network) or network.bridge is None or not network.bridge.name:
            return
        try:
            await asyncio.to_thread(self._files.remove_guests, network.bridge.name)
        except OSError as error:
            log.error("the leases of network '%s' are not removed: %s", network.name, error)

    async def update(self, obj: NetworkObject, network: Network) -> None:
        """Update an active network to a definition that differs in one section.

        Raises:
            VirError: it cannot be; the network goes on as it was.
        """
        await run_to_completion(self._update(obj, network))

    async def _update(self, obj: NetworkObject, network: Network) -> None:
        running = obj.runtime
        assert running is not None, "only a running network is updated live"
        previous = running.network
        try:
            await self._services.update(previous, network)
            running.network = network
            await self._save(obj, running)
        except VirError:
            running.network = previous
            await self._revert(network, previous)
            raise
        self._publisher.invalidate()
        await self._hooks.notify(network, "updated")

    async def _revert(self, network: Network, previous: Network) -> None:
        """Apply the previous definition again; the error that led here is the one reported."""
        try:
            await self._services.update(network, previous)
        except VirError as error:
            log.error("network '%s' is not as it was before the update: %s", network.name, error)

    async def repair(self, obj: NetworkObject, network: Network) -> None:
        """Complete an active network after a restart of netd.

        Raises:
            VirError: it cannot be repaired.
        """
        for step in self._plan(network):
            if not isinstance(step, steps.InstallRules):  # `repair_rules` installs all at once
                await self._executor.do(step)

    async def repair_rules(self) -> None:
        """Install missing firewall rules of all active networks.

        Raises:
            VirError: the firewall refuses.
        """
        running = [obj.runtime.network for obj in self._registry if obj.runtime is not None]
        facts = [firewall_facts(network) for network in running]
        await self._services.install_rules(
            *(network_facts for network_facts in facts if network_facts is not None)
        )

    def count(self) -> None:
        """Vote on keeping the daemon running."""
        self._keep_running.set(busy=any(obj.is_active for obj in self._registry))

    async def undo_start(self, obj: NetworkObject, network: Network) -> None:
        """Undo a start that an earlier netd did not end."""
        await self._clear(network)
        await self._remove_status(obj)
        if not obj.is_listed:
            self._registry.remove(obj)

    async def save(self, obj: NetworkObject) -> None:
        """Write the status of an active network.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        assert obj.runtime is not None, "only a running network has a status"
        await self._save(obj, obj.runtime)

    async def _save(
        self, obj: NetworkObject, running: NetworkRuntime, *, starting: bool = False
    ) -> None:
        text = format_status(running, starting=starting)
        try:
            await asyncio.to_thread(self._files.save_status, obj.name, text)
        except OSError as error:
            raise NETWORK_ERRORS.system_error(
                f"cannot write the status of '{obj.name}'", error
            ) from error

    async def _remove_status(self, obj: NetworkObject) -> None:
        try:
            await asyncio.to_thread(self._files.remove_status, obj.name)
        except OSError as error:
            log.error("network '%s' may be taken for an active one: %s", obj.name, error)

    async def _clear(self, network: Network) -> None:
        """Undo all steps of a start in reverse order, whether they were done or not."""
        for step in reversed(self._plan(network)):
            await self._executor.undo(step)

    def _plan(self, network: Network) -> list[Step]:
        return plan_start(network, self._services.dnsmasq_config(network))

    async def _check(self, network: Network) -> None:
        """Refuse a network that cannot start: its subnet or bridge is in use, its PF has no VFs, ….

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_INVALID.
        """
        if network.bridge is not None and network.bridge.zone:
            detail = f"zone {network.bridge.zone} requested for network '{network.name}' but this "
            raise VirError(
                ErrorCode.CONFIG_UNSUPPORTED,
                f"{detail}daemon does not drive firewalld; leave the zone out",
                ErrorDomain.NETWORK,
            )
        refuse_without_functions(network)
        try:
            subnets = subnets_of(network)
        except ConfError as error:  # libvirt, too, defines a netmask with gaps and cannot start it
            raise from_conf_error(error, ErrorDomain.NETWORK) from error
        for other in self._registry:
            running = other.runtime.network if other.runtime is not None else None
            if running is not None and shares_bridge(running, network):
                detail = f"bridge name '{bridge_of(network)}' already in use."
                raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
        if not subnets:
            return
        try:
            conflict = find_conflict(subnets, await self._links.routes())
            links = await self._links.links() if conflict is not None else []
        except OSError as error:
            raise NETWORK_ERRORS.system_error("cannot read the host's routes", error) from error
        if conflict is not None:
            name = next((link.name for link in links if link.index == conflict[1].index), "another")
            detail = f"Network is already in use by interface {name}: {conflict[0]}"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)


def shares_bridge(network: Network, other: Network) -> bool:
    """Return whether two networks would create the same bridge."""
    return bool(subnets_of(other)) and bridge_of(network) == bridge_of(other) != ""
