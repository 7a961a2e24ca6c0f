"""The packet filter rules and the dnsmasq processes of networks.

Owns: which dnsmasq process serves which network.
May touch: the firewall, dnsmasq and its files, each through its own module. May not touch: links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from conf.network import Network
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.dnsmasq import files
from supervisor.netd.dnsmasq.config import DnsmasqConfig, plan_config
from supervisor.netd.dnsmasq.process import Dnsmasq, DnsmasqPaths
from supervisor.netd.firewall import Firewall, NetworkFacts
from supervisor.netd.network.plan import firewall_facts
from supervisor.runtime.paths import Paths


class NetworkServices:
    """What networks need beside the kernel's links."""

    def __init__(
        self,
        paths: Paths,
        select_firewall: Callable[[], Awaitable[Firewall]],
        dnsmasq: Callable[[DnsmasqPaths], Dnsmasq] = Dnsmasq,
    ) -> None:
        """Create the services; nothing runs yet.

        Args:
            paths: of this daemon.
            select_firewall: selects the firewall backend; called when the first rules are needed.
            dnsmasq: makes the process of one network.
        """
        self._paths = paths
        self._select_firewall = select_firewall
        self._make_dnsmasq = dnsmasq
        self._firewall: Firewall | None = None
        self._processes: dict[str, Dnsmasq] = {}  # by the network's name
        self._outdated: set[str] = set()  # networks whose dnsmasq has not read its configuration

    def close(self) -> None:
        """Stop supervising dnsmasq; the processes run on for the next netd."""
        for process in self._processes.values():
            process.detach()

    def dnsmasq_paths(self, network: Network) -> DnsmasqPaths:
        """Name the files of a network's dnsmasq."""
        bridge = network.bridge.name if network.bridge is not None else None
        folder, status = self._paths.dnsmasq(), self._paths.network_status_dir()
        return DnsmasqPaths.for_network(folder, status, network.name, bridge or network.name)

    def dnsmasq_config(self, network: Network) -> DnsmasqConfig | None:
        """Write a network's dnsmasq configuration; None: it needs no dnsmasq."""
        return plan_config(network, self.dnsmasq_paths(network), user=files.server_user())

    def leases(self, network: Network) -> Path:
        """Name a network's lease database."""
        return self.dnsmasq_paths(network).leases

    # The packet filter.

    async def install_rules(self, *networks: NetworkFacts) -> None:
        """Add the rules of networks that are missing; complete ones are not touched.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, CONFIG_UNSUPPORTED.
        """
        if networks:
            await (await self._selected()).refresh(*networks)

    async def remove_rules(self, network: NetworkFacts) -> None:
        """Delete the rules of a network.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, CONFIG_UNSUPPORTED.
        """
        await (await self._selected()).remove(network)

    async def _selected(self) -> Firewall:
        if self._firewall is None:
            self._firewall = await self._select_firewall()
        return self._firewall

    # dnsmasq.

    async def write_config(self, config: DnsmasqConfig) -> None:
        """Write dnsmasq's files.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        try:
            changed = await asyncio.to_thread(files.write_config, config)
        except OSError as error:
            action = f"cannot write the files of dnsmasq for network '{config.network}'"
            raise NETWORK_ERRORS.system_error(action, error) from error
        if changed:
            self._outdated.add(config.network)

    async def remove_config(self, paths: DnsmasqPaths) -> None:
        """Remove dnsmasq's files, but not the leases: the network may be started again.

        Raises:
            OSError: a file cannot be removed.
        """
        await asyncio.to_thread(files.remove_config, paths)

    async def start_dnsmasq(self, config: DnsmasqConfig) -> None:
        """Start dnsmasq unless it runs with this configuration already.

        Raises:
            VirError: INTERNAL_ERROR, OPERATION_TIMEOUT, CONFIG_UNSUPPORTED.
        """
        name = config.network
        process = self._processes.get(name)
        if process is None:
            process = self._processes[name] = self._make_dnsmasq(config.paths)
        if name in self._outdated:
            # dnsmasq reads its configuration only once: one that an earlier netd started and that
            # is still running has read another.
            await process.stop()
            self._outdated.discard(name)
        if not process.pid:
            await process.start()

    async def stop_dnsmasq(self, name: str, paths: DnsmasqPaths) -> None:
        """Stop a network's dnsmasq, also one that an earlier netd started."""
        await (self._processes.pop(name, None) or self._make_dnsmasq(paths)).stop()
        self._outdated.discard(name)

    async def update(self, previous: Network, network: Network) -> None:
        """Apply a running network's changed definition to dnsmasq and the packet filter.

        Raises:
            VirError: some of it is applied; the caller applies the previous definition again.
        """
        await self._update_dnsmasq(network)
        facts = firewall_facts(network)
        if facts is not None and facts != firewall_facts(previous):
            await self.install_rules(facts)

    async def _update_dnsmasq(self, network: Network) -> None:
        config = self.dnsmasq_config(network)
        if config is None:
            paths = self.dnsmasq_paths(network)
            await self.stop_dnsmasq(network.name, paths)
            await self.remove_config(paths)
            return
        await self.write_config(config)
        process = self._processes.get(network.name)
        if process is None:
            await self.start_dnsmasq(config)
        elif network.name in self._outdated:
            self._outdated.discard(network.name)
            await process.restart()
        else:
            process.reload()  # SIGHUP: dnsmasq reads hosts and names again, not its configuration
