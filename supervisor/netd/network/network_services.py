"""What a running network needs beside links: its packet filter rules and its dnsmasq.

Owns: which dnsmasq serves which network. May touch: the firewall, dnsmasq and its files, each
through its own module. May not touch: links.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from conf.network import Network
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.dnsmasq import files as server_files
from supervisor.netd.dnsmasq.config import plan_config
from supervisor.netd.dnsmasq.process import Dnsmasq, DnsmasqPaths
from supervisor.netd.firewall import Firewall
from supervisor.netd.network.plan import firewall_facts
from supervisor.runtime.paths import Paths

log = logging.getLogger(__name__)


class NetworkServices:
    """Of all networks that run or are being started, by name (`carrying.Helpers`)."""

    def __init__(self, paths: Paths, choose: Callable[[], Awaitable[Firewall]]) -> None:
        """Keep files below these paths.

        Args:
            paths: where.
            choose: finds out which packet filter to use; called when the first rules are needed.
        """
        self._paths = paths
        self._choose = choose
        self._firewall: Firewall | None = None
        self._networks: dict[str, Network] = {}
        self._servers: dict[str, Dnsmasq] = {}
        self._rewritten: set[str] = set()  # whose configuration is newer than its dnsmasq

    def know(self, network: Network) -> None:
        """The document that holds for a network from now on."""
        self._networks[network.name] = network

    def forget(self, name: str) -> None:
        """A network has stopped."""
        self._networks.pop(name, None)
        self._servers.pop(name, None)

    def close(self) -> None:
        """Follow no dnsmasq any longer; all run on."""
        for server in self._servers.values():
            server.detach()

    def files(self, network: Network) -> DnsmasqPaths:
        """Where the files of a network's dnsmasq are."""
        bridge = network.bridge.name if network.bridge is not None else None
        folder, states = self._paths.dnsmasq(), self._paths.network_status_dir()
        return DnsmasqPaths.for_network(folder, states, network.name, bridge or network.name)

    def leases(self, network: Network) -> Path:
        """Where a network's lease database is."""
        return self.files(network).leases

    # The packet filter.

    async def install_rules(self, network: str) -> None:
        """Put the rules in; those that are there already stay.

        Raises:
            VirError: the firewall refuses.
        """
        facts = firewall_facts(self._networks[network])
        if facts is not None:
            await (await self._filter()).refresh(facts)

    async def remove_rules(self, network: str) -> None:
        """Take the rules out.

        Raises:
            VirError: the firewall refuses.
        """
        known = self._networks.get(network)
        facts = firewall_facts(known) if known is not None else None
        if facts is not None:
            await (await self._filter()).remove(facts)

    async def refresh_rules(self) -> None:
        """Put the rules of every running network in again, where they are missing.

        Raises:
            VirError: the firewall refuses.
        """
        found = [firewall_facts(network) for network in self._networks.values()]
        wanted = [facts for facts in found if facts is not None]
        if wanted:
            await (await self._filter()).refresh(*wanted)

    async def _filter(self) -> Firewall:
        if self._firewall is None:
            self._firewall = await self._choose()
        return self._firewall

    # dnsmasq.

    async def write_files(self, network: str) -> None:
        """Write what dnsmasq reads.

        Raises:
            VirError: SYSTEM_ERROR.
        """
        if await self._write(self._networks[network]):
            self._rewritten.add(network)

    async def remove_files(self, network: str) -> None:
        """Remove what dnsmasq read.

        Raises:
            OSError: it cannot be removed.
        """
        known = self._networks.get(network)
        if known is not None:
            await asyncio.to_thread(server_files.remove_texts, self.files(known))

    async def run_server(self, network: str) -> None:
        """Have dnsmasq run, with the configuration as it is now.

        Raises:
            VirError: it does not start.
        """
        server = self._servers.get(network)
        if server is None:
            server = self._servers[network] = Dnsmasq(self.files(self._networks[network]))
        if network in self._rewritten:
            await server.stop()  # one that was left over has read another configuration
            self._rewritten.discard(network)
        if not server.pid:
            await server.start()

    async def stop_server(self, network: str) -> None:
        """End dnsmasq."""
        known = self._networks.get(network)
        server = self._servers.pop(network, None)
        if server is None and known is not None:
            server = Dnsmasq(self.files(known))
        if server is not None:
            await server.stop()

    async def update(self, network: Network) -> None:
        """Have everything follow a running network's new document.

        Raises:
            VirError: something does not; the former document still holds for it.
        """
        former = self._networks[network.name]
        self._networks[network.name] = network
        try:
            await self._update_server(network)
            if firewall_facts(former) != firewall_facts(network):
                await self.install_rules(network.name)
        except BaseException:
            self._networks[network.name] = former
            raise

    async def _update_server(self, network: Network) -> None:
        config_changed = await self._write(network)
        wanted = plan_config(network, self.files(network), user="") is not None
        if not wanted:
            await self.stop_server(network.name)
        elif network.name not in self._servers:
            await self.run_server(network.name)
        elif config_changed:
            await self._servers[network.name].restart()
        else:
            self._servers[network.name].reload()

    async def _write(self, network: Network) -> bool:
        """Write the files; whether dnsmasq must be started anew for them."""
        files = self.files(network)
        texts = plan_config(network, files, user=server_files.server_user())
        if texts is None:
            await asyncio.to_thread(server_files.remove_texts, files)
            return False
        try:
            return await asyncio.to_thread(server_files.write_texts, files, texts)
        except OSError as error:
            doing = f"cannot write the files of dnsmasq for network '{network.name}'"
            raise NETWORK_ERRORS.system_error(doing, error) from error
