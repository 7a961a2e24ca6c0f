"""After a start of netd: which networks are there, and mending what is missing of them.

Owns: that order. May touch: the store, to read; networks, each through its own module.

A network with a status document runs: its bridge, rules and server are looked at and mended. One
without does not: what a start or stop that was cut short has left of it is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from conf.errors import ConfError
from conf.network import parse_port
from rpc.errors import VirError
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network.definition_builder import read_network
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject, NetworkRuntime
from supervisor.netd.network.networks import Networks, bridge_of
from supervisor.netd.network.plan import makes_bridge
from supervisor.netd.network.registry import NETWORK_XML, NetworkRegistry
from supervisor.netd.network.status_xml import parse_status
from supervisor.netd.network.step_executor import is_network_bridge
from supervisor.objects.autostart import autostart
from supervisor.objects.load import load_definitions, load_status

DEFAULT: Final = """\
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"""

log = logging.getLogger(__name__)


def load(files: NetworkFiles, registry: NetworkRegistry) -> None:
    """Load every definition, and every network that has a status."""
    load_definitions(registry, files.load(), NETWORK_XML)
    for obj, network in load_status(registry, files.load_status(), NETWORK_XML, parse_status):
        obj.runtime = NetworkRuntime(network)
        _load_ports(files, obj, obj.runtime)


def _load_ports(files: NetworkFiles, obj: NetworkObject, running: NetworkRuntime) -> None:
    for stored in files.ports(obj.name):
        try:
            port = parse_port(stored.xml)
            running.ports[UUID(str(port.uuid)).bytes] = port
        except (ConfError, ValueError) as error:
            log.error("port %s of '%s' is left out: %s", stored.name, obj.name, error)


async def define_default(files: NetworkFiles, registry: NetworkRegistry) -> None:
    """Define the network that every stock host has, once; who undefines it will not see it again.

    It is not started with the host unless the administrator says so.
    """
    if not await asyncio.to_thread(files.is_first_start):
        return
    if registry.by_name("default") is None and not any(obj.is_listed for obj in registry):
        network = read_network(DEFAULT)
        obj = registry.make(*NETWORK_XML.identity(network))
        obj.definition = network
        await asyncio.to_thread(files.save, "default", NETWORK_XML.format(network))
        registry.add(obj)
    await asyncio.to_thread(files.mark_initialised)


async def recover(registry: NetworkRegistry, networks: Networks, links: Rtnetlink) -> None:
    """Mend the networks that run, and clean up after those that do not."""
    running = [obj for obj in registry if obj.runtime is not None]
    for obj in running:
        await _mend(obj, networks)
    try:
        await networks.repair_rules()
    except VirError as error:
        log.error("the packet filter's rules are not complete: %s", error)
    await _clean(registry, networks, links)


async def _mend(obj: NetworkObject, networks: Networks) -> None:
    assert obj.runtime is not None, "only running networks are mended"
    try:
        await networks.repair(obj, obj.runtime.network)
    except (VirError, TimeoutError) as error:
        log.error("network '%s' is not whole: %s", obj.name, error)


async def _clean(registry: NetworkRegistry, networks: Networks, links: Rtnetlink) -> None:
    """Remove what is left of networks that were being started or stopped."""
    stopped = [
        obj.definition
        for obj in registry
        if obj.runtime is None and obj.definition is not None and makes_bridge(obj.definition)
    ]
    if not stopped:
        return
    try:
        found = {link.name: link for link in await links.links()}
    except OSError as error:
        log.error("leftovers of networks are not looked for: %s", error)
        return
    for network in stopped:
        link = found.get(bridge_of(network))
        if link is not None and is_network_bridge(link, network.mac or ""):
            log.warning("network '%s' was left half started: it is cleaned up", network.name)
            await networks.clear(network)


async def autostart_networks(
    files: NetworkFiles,
    registry: NetworkRegistry,
    networks: Networks,
    first: Callable[[], Awaitable[None]],
) -> None:
    """Start what is marked for autostart, once in each boot of the host.

    Args:
        files: remembers that it was done.
        registry: the networks.
        networks: starts them, one after the other: each changes the packet filter.
        first: starts the host's own interfaces, which networks may need.
    """

    async def start(obj: NetworkObject) -> None:
        if obj.definition is not None:
            await networks.start(obj, obj.definition)

    await autostart(registry, files, start, parallel=1, before=first)
