"""Recovery of networks after a start of netd.

Owns: its order. May touch: the files, to read; networks, each through its own module.

A network with a status file is active: its bridge, rules and dnsmasq are checked and repaired, at
the same time for all networks and while calls are answered. Where the status says that the start
did not end, the start is undone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from conf.errors import ConfError
from conf.network import Network, complete, parse_network, parse_port
from rpc.errors import VirError
from supervisor.netd.network.definition_builder import (
    choose_bridge_name,
    needs_name,
    read_network,
    with_bridge,
)
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network import NetworkObject, NetworkRuntime, bridge_of
from supervisor.netd.network.networks import Networks
from supervisor.netd.network.plan import makes_bridge
from supervisor.netd.network.registry import NETWORK_XML, NetworkRegistry
from supervisor.netd.network.status_xml import parse_status
from supervisor.objects.autostart import autostart
from supervisor.objects.definition_files import StoredXml
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

BRIDGE_NAME: Final = re.compile(r"<bridge[^>]*\sname=['\"]([^'\"]*)")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class InterruptedStart:
    """A start that an earlier netd did not end."""

    obj: NetworkObject
    network: Network


def load(files: NetworkFiles, registry: NetworkRegistry) -> list[InterruptedStart]:
    """Load every definition and status; return the starts that did not end."""
    load_definitions(registry, _complete_files(files), NETWORK_XML)
    starting: set[str] = set()

    def parse(text: str) -> Network:
        status = parse_status(text)
        if status.starting:
            starting.add(status.network.name)
        return status.network

    interrupted = []
    for obj, network in load_status(registry, files.load_status(), NETWORK_XML, parse):
        if obj.name in starting:
            interrupted.append(InterruptedStart(obj, network))
            continue
        obj.runtime = NetworkRuntime(network)
        _load_ports(files, obj, obj.runtime)
    return interrupted


def _complete_files(files: NetworkFiles) -> list[StoredXml]:
    """Read the definition files; complete those that a package or an administrator wrote.

    As libvirt does, a network without UUID, MAC address or bridge name is given one that stays.
    """
    files_read = files.load()
    names = [name for _, name in socket.if_nameindex()]
    taken = {*names, *(name for stored in files_read for name in BRIDGE_NAME.findall(stored.xml))}
    return [_completed(files, stored, taken) for stored in files_read]


def _completed(files: NetworkFiles, stored: StoredXml, taken: set[str]) -> StoredXml:
    try:
        network = parse_network(stored.xml)
    except ConfError:
        return stored  # logged where it is parsed for good
    if network.name != stored.name:
        return stored
    has_bridge = makes_bridge(network)
    if network.uuid and not (has_bridge and (needs_name(network) or not network.mac)):
        return stored
    network = complete(network)
    if has_bridge and needs_name(network):
        network = with_bridge(network, choose_bridge_name(network, taken))
        taken.add(bridge_of(network))
    xml = NETWORK_XML.format(network)
    try:
        files.save(stored.name, xml)
    except OSError as error:
        log.error("%s.xml is incomplete and cannot be completed: %s", stored.name, error)
    return replace(stored, xml=xml)


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
    is_absent = registry.by_name("default") is None and not files.exists("default")
    if is_absent and not any(obj.is_listed for obj in registry):
        network = read_network(DEFAULT)
        obj = registry.make(*NETWORK_XML.identity(network))
        obj.definition = network
        await asyncio.to_thread(files.save, "default", NETWORK_XML.format(network))
        registry.add(obj)
    await asyncio.to_thread(files.mark_initialised)


def recover(
    registry: NetworkRegistry,
    networks: Networks,
    interrupted: Sequence[InterruptedStart],
    after_repair: Callable[[NetworkObject], Awaitable[None]],
) -> list[asyncio.Task[None]]:
    """Begin to repair active networks and to undo interrupted starts.

    Each task holds the change lock of its network alone: what takes long, such as a dnsmasq that
    does not start, holds up changes of that network, and no list or other network.

    Args:
        registry: the networks.
        networks: repairs them.
        interrupted: as `load` returned them.
        after_repair: called with each network that was repaired, while its lock is held.

    Returns:
        The tasks; the caller keeps them.
    """
    rules = asyncio.ensure_future(_repair_rules(networks))
    tasks = [rules]
    for obj in registry:
        if obj.runtime is not None:
            tasks.append(asyncio.ensure_future(_repair(obj, networks, rules, after_repair)))
    tasks += [asyncio.ensure_future(_undo_start(start, networks)) for start in interrupted]
    return tasks


async def _repair_rules(networks: Networks) -> None:
    """Install the missing rules of all networks: one reading of the tables is enough for all."""
    try:
        await networks.repair_rules()
    except VirError as error:
        log.error("the packet filter's rules are not complete: %s", error)


async def _repair(
    obj: NetworkObject,
    networks: Networks,
    rules: asyncio.Future[None],
    after_repair: Callable[[NetworkObject], Awaitable[None]],
) -> None:
    async with obj.change_lock.hold("recovery"):
        await asyncio.wait([rules])  # before a bridge that was lost passes its first packet
        assert obj.runtime is not None, "calls that stop it wait for the lock"
        try:
            await networks.repair(obj, obj.runtime.network)
        except (VirError, TimeoutError) as error:
            log.error("network '%s' is not complete: %s", obj.name, error)
        await after_repair(obj)


async def _undo_start(start: InterruptedStart, networks: Networks) -> None:
    async with start.obj.change_lock.hold("recovery"):
        log.warning("the start of network '%s' was interrupted: it is undone", start.obj.name)
        await networks.undo_start(start.obj, start.network)


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
