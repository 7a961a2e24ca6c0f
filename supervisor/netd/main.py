"""netd: virtual networks, guests' ports, the host's interfaces.

Owns: networks' definitions and everything that makes them work.
May touch: the kernel's networking, the packet filter, dnsmasq; the network hook script.
May not touch: guests, client sockets, definitions of domains.
Runs with: files, CAP_NET_ADMIN and CAP_NET_RAW, and those with which dnsmasq changes its user.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from conf.errors import ConfError
from conf.nwfilter import stock_filters
from rpc.errors import VirError
from supervisor.access.setup import open_guard
from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.dispatch.events import KeepRunningVote, Publisher
from supervisor.dispatch.procedure_methods import check_methods
from supervisor.netd.dnsmasq.files import install_script
from supervisor.netd.firewall import Firewall, select_firewall
from supervisor.netd.firewall.backend_choice import Backend, configured, select_backend
from supervisor.netd.hooks import NetworkHooks
from supervisor.netd.interfaces.calls import InterfaceCalls
from supervisor.netd.interfaces.interface_files import InterfaceFiles
from supervisor.netd.interfaces.step_executor import InterfaceStepExecutor
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.kernel.sysctl import Sysctl
from supervisor.netd.network import recovery
from supervisor.netd.network.calls.lifecycle import LifecycleCalls
from supervisor.netd.network.calls.query import QueryCalls
from supervisor.netd.network.calls.update import UpdateCalls
from supervisor.netd.network.definition_builder import DefinitionBuilder
from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.network.network_services import NetworkServices
from supervisor.netd.network.networks import Networks
from supervisor.netd.network.registry import network_definitions, network_registry
from supervisor.netd.network.step_executor import StepExecutor
from supervisor.netd.nwfilter.calls import FilterCalls
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.setup import InterfaceFilters, open_filters
from supervisor.netd.ports.addresses import AddressService
from supervisor.netd.ports.calls import PortCalls
from supervisor.netd.ports.devices import PortDevices
from supervisor.netd.ports.floors import Floors
from supervisor.netd.ports.network_ports import NetworkPorts
from supervisor.netd.ports.ports import Ports
from supervisor.netd.ports.records import PortRecords
from supervisor.netd.ports.restore import PortRestorer
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths

SWEEP_S: Final = 30.0

#: What answers clients' calls (`owner=netd` in rpc/*.table); a method is named as its procedure.
CALLS: Final = (InterfaceCalls, QueryCalls, LifecycleCalls, UpdateCalls, PortCalls, FilterCalls)

log = logging.getLogger(__name__)


def preload() -> None:
    """Check the calls' methods in the zygote: the check would copy their pages in this process."""
    check_methods("netd", "", CALLS)


async def run(process: ChildProcess) -> None:
    """Entry point of the process: load, recover, answer calls until the root stops it."""
    paths, registry, links, sysctl = process.paths, network_registry(), Rtnetlink(), Sysctl()
    files, publisher = NetworkFiles(paths), Publisher(process.node, "network")
    keep_running = KeepRunningVote(process.node, busy="networks run", idle="no network runs")
    hooks = NetworkHooks(Hooks(paths.hook("network")))
    services = NetworkServices(paths, lambda: open_firewall(paths))
    filters = open_filters(paths, lambda: filter_backend(paths))
    host = StepExecutor(links, sysctl, services)
    networks = Networks(
        registry,
        files,
        host,
        links,
        services,
        hooks,
        publisher,
        keep_running,
        session=process.session,
    )
    network_ports = NetworkPorts(registry, files, hooks, Floors(links))
    records = PortRecords(paths.network_status_dir() / "taps")
    devices = PortDevices(links, sysctl, records)
    ports = Ports(
        network_ports,
        records,
        links,
        devices,
        None if process.session else InterfaceFilters(filters),
        session=process.session,
    )
    restorer = PortRestorer(network_ports, records, links, devices)
    networks.after_start.append(restorer.restore)
    definitions = network_definitions(registry, files, publisher)
    builder = DefinitionBuilder(registry, links, session=process.session)
    interfaces = InterfaceCalls(
        links,
        InterfaceStepExecutor(links, sysctl),
        InterfaceFiles(paths.interfaces()),
        session=process.session,
    )
    targets = (
        interfaces,
        QueryCalls(registry, services.leases),
        LifecycleCalls(registry, builder, definitions, networks),
        UpdateCalls(registry, definitions, networks),
        PortCalls(registry, network_ports, ports),
        FilterCalls(filters, session=process.session),
    )
    interrupted = recovery.load(files, registry)
    tasks: set[asyncio.Task[None]] = set()
    recovering: list[asyncio.Task[None]] = []
    if not process.session:
        await asyncio.to_thread(install_script, paths.dnsmasq())
        await recovery.define_default(files, registry)
        await filters.load(stock_filters)
        recovering = recovery.recover(registry, networks, interrupted, restorer.restore)
        recovering.append(asyncio.ensure_future(filters.recover()))
        if ports.any():
            recovering.append(asyncio.ensure_future(restorer.restore()))
        await asyncio.sleep(0)  # each task takes its lock before the first call is answered
    process.node.serve(Dispatcher("netd", *targets, guard=open_guard(process)))
    process.node.serve(ports)
    process.node.serve(AddressService(registry, services.leases, links))
    process.on_reload.append(lambda: start_task(tasks, refresh_rules(networks, filters)))
    await process.ready()
    networks.count()
    start_task(tasks, links.open())
    start_task(tasks, collect_garbage(ports, process.stopping))
    if not process.session:
        starting = recovery.autostart_networks(
            files,
            registry,
            networks,
            lambda: before_autostart(recovering, interfaces.start_with_host),
        )
        start_task(tasks, starting)
    await process.stopping.wait()
    for task in (*tasks, *recovering):
        task.cancel()
    filters.close()
    services.close()
    links.close()


def start_task(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
    """Start a background task; the set keeps a reference, as the event loop does not."""
    task = asyncio.ensure_future(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def before_autostart(
    recovering: Sequence[asyncio.Task[None]], start_interfaces: Callable[[], Awaitable[None]]
) -> None:
    """Wait for the recovery, whose leftovers may be in the way; then start the host's interfaces.

    Args:
        recovering: the tasks of the recovery; each logs its own failures.
        start_interfaces: starts what networks may need.
    """
    await asyncio.gather(*recovering, return_exceptions=True)
    await start_interfaces()


async def collect_garbage(ports: Ports, stopping: asyncio.Event) -> None:
    """Release every `SWEEP_S` the ports whose domain ended without a detach."""
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await stopping.wait()
        try:
            await ports.collect_garbage()
        except (OSError, TimeoutError, VirError) as error:
            log.error("guests' interfaces cannot be checked: %s", error)


async def filter_backend(paths: Paths) -> Backend:
    """Select the backend for filters: network.conf's, or what the host uses.

    Raises:
        VirError: CONFIG_UNSUPPORTED when it is not installed.
    """
    return await select_backend(
        await asyncio.to_thread(configured_backend, paths.network_config_file())
    )


async def open_firewall(paths: Paths) -> Firewall:
    """Create the firewall for networks: network.conf's backend, or what the host uses.

    Raises:
        VirError: CONFIG_UNSUPPORTED when it is not installed.
    """
    return await select_firewall(
        await asyncio.to_thread(configured_backend, paths.network_config_file())
    )


def configured_backend(path: Path) -> Backend | None:
    """Read firewall_backend; an invalid network.conf is logged and ignored."""
    try:
        return configured(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfError) as error:
        log.error("network.conf is passed over: %s", error)
        return None


async def refresh_rules(networks: Networks, filters: Filters) -> None:
    """Install all rules again: another program may have flushed them."""
    for work in (networks.repair_rules(), filters.refresh()):
        try:
            await work
        except VirError as error:
            log.error("the packet filter's rules are not complete: %s", error)
