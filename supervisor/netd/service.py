"""netd: virtual networks, guests' ports, the host's interfaces.

Owns: networks' definitions and everything that makes them work.
May touch: the kernel's networking, the packet filter, dnsmasq; the network hook script.
May not touch: guests, client sockets, definitions of domains.
Runs with: files, CAP_NET_ADMIN and CAP_NET_RAW, and what dnsmasq needs to become another user.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from conf.errors import ConfError
from rpc.errors import VirError
from supervisor.calls import Surface
from supervisor.hooks import Hooks
from supervisor.netd import recovery
from supervisor.netd.carrying import Host
from supervisor.netd.definitions import Definitions
from supervisor.netd.dnsmasq.files import install_script
from supervisor.netd.documents import Documents
from supervisor.netd.events import Publisher
from supervisor.netd.firewall import Firewall, choose
from supervisor.netd.firewall.choice import Backend, configured
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.lifecycle import Lifecycle
from supervisor.netd.links import Links
from supervisor.netd.networks import Networks
from supervisor.netd.queries import Queries
from supervisor.netd.registry import Registry
from supervisor.netd.services import Services
from supervisor.netd.store import Store
from supervisor.netd.sysctl import Sysctl
from supervisor.paths import Paths
from supervisor.process import Process

log = logging.getLogger(__name__)


async def serve(process: Process) -> None:
    """Answer until the process is told to stop."""
    paths, registry, links = process.paths, Registry(), Links()
    store, publisher = Store(paths), Publisher(process.node)
    services = Services(paths, lambda: choose_filter(paths))
    networks = Networks(
        registry,
        store,
        Host(links, Sysctl(), services),
        links,
        services,
        NetworkHooks(Hooks(paths.hook("network"))),
        publisher,
        session=process.session,
    )
    documents = Documents(registry, links, session=process.session)
    definitions = Definitions(registry, store, publisher)
    targets = (
        Queries(registry, services.leases),
        Lifecycle(registry, documents, definitions, networks),
    )
    recovery.load(store, registry)
    if not process.session:
        install_script(paths.dnsmasq())
        await recovery.define_default(store, registry)
        await recovery.recover(registry, networks, links)
    process.node.serve(Surface("netd", *targets))
    process.on_reload.append(lambda: tasks.add(asyncio.ensure_future(refresh(services))))
    tasks: set[asyncio.Task[None]] = set()
    await process.ready()
    starting = asyncio.create_task(recovery.autostart(store, registry, networks))
    await process.stopping.wait()
    starting.cancel()
    services.close()
    links.close()


async def choose_filter(paths: Paths) -> Firewall:
    """The packet filter that network.conf names, or the one that the host uses.

    Raises:
        VirError: CONFIG_UNSUPPORTED when it is not installed.
    """
    return await choose(await asyncio.to_thread(backend, paths.network_config_file()))


def backend(path: Path) -> Backend | None:
    """What network.conf says; a file that says it wrongly is told of and passed over."""
    try:
        return configured(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfError) as problem:
        log.error("network.conf is passed over: %s", problem)
        return None


async def refresh(services: Services) -> None:
    """Put the packet filter's rules in again: somebody may have flushed them."""
    try:
        await services.refresh_rules()
    except VirError as problem:
        log.error("the packet filter's rules are not complete: %s", problem)
