"""hostd: node information, emulators, CPU models; secrets.

Owns: facts about the host; probes of emulators and their cache; secrets and their values.
May touch: /proc and /sys, to read; drivers of PCI devices; emulators, to probe them; its cache
directory; that of secrets.
May not touch: guests, definitions, client sockets.
Runs with: the daemon's own files, no capability.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path
from typing import Final

from conf.domain.cpu_document import format_model
from ipc import handles
from rpc.errors import VirError
from supervisor.access.setup import open_guard
from supervisor.dispatch.dispatcher import Dispatcher
from supervisor.dispatch.events import Publisher
from supervisor.dispatch.procedure_methods import check_methods
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU
from supervisor.hostd.calls.connection import ConnectionCalls, LxcHypervisor
from supervisor.hostd.calls.cpu import CpuCalls
from supervisor.hostd.calls.emulator import EmulatorCalls, Installation
from supervisor.hostd.calls.node import NodeCalls
from supervisor.hostd.calls.node_device import NodeDeviceCalls
from supervisor.hostd.calls.node_memory import NodeMemoryCalls
from supervisor.hostd.calls.node_suspend import NodeSuspendCalls
from supervisor.hostd.calls.pci_device import PciDeviceCalls
from supervisor.hostd.calls.secret import SecretCalls
from supervisor.hostd.cpu.service import GuestCpus
from supervisor.hostd.emulator.emulators import Emulators
from supervisor.hostd.node.cpu_changes import CpuChanges
from supervisor.hostd.node.node import Node
from supervisor.hostd.secrets.files import SecretFiles
from supervisor.hostd.secrets.registry import SecretRegistry
from supervisor.messages.hostd import EmulatorProbed, ProbeEmulator
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.emulator_user import emulator_user
from supervisor.runtime.host import host_arch

#: What answers clients' calls (`owner=hostd` in rpc/*.table); a method is named as its procedure.
CALLS: Final = (
    ConnectionCalls,
    NodeCalls,
    NodeDeviceCalls,
    PciDeviceCalls,
    NodeMemoryCalls,
    NodeSuspendCalls,
    CpuCalls,
    EmulatorCalls,
    SecretCalls,
)

log = logging.getLogger(__name__)


def preload() -> None:
    """Check the calls' methods in the zygote: the check would copy their pages in this process."""
    check_methods("hostd", "", CALLS)


class HostService:
    """Answers other services."""

    def __init__(self, emulators: Emulators, cpus: GuestCpus) -> None:
        self._emulators = emulators
        self._cpus = cpus

    @handles(ProbeEmulator)
    async def probe(self, request: ProbeEmulator) -> EmulatorProbed:
        """Return the facts of an emulator."""
        binary = request.binary or self._emulators.default(request.arch or host_arch())
        facts = await self._emulators.facts(binary)
        if (context := request.purpose) is None:
            return EmulatorProbed(facts=facts)
        cpu = await self._cpus.resolve(facts, context) if context.cpu else None
        model = (cpu.model.name if cpu is not None and cpu.model is not None else None) or ""
        return EmulatorProbed(
            facts=facts.for_launch(context.virt_type, context.machine, model),
            cpu=format_model(cpu) if cpu is not None else "",
        )


async def run(process: ChildProcess) -> None:
    """Run the service until the process is asked to stop."""
    emulators = Emulators(process.paths.capabilities())
    node = Node()
    installation = Installation(
        uuid=host_uuid(process.config.host_uuid, process.paths.host_uuid()),
        labels=base_label(process),
        firmware=process.paths.firmware_descriptors(session=process.session),
    )
    calls = EmulatorCalls(node, emulators, installation)
    files = SecretFiles(process.paths.secrets())
    secrets = SecretCalls(SecretRegistry(), files, Publisher(process.node, "secret"))
    secrets.load()
    publisher = Publisher(process.node, "node_device")
    cpu_changes = CpuChanges(lambda: publisher.invalidate(of_host=True))
    cpu_changes.watch()
    connections = ConnectionCalls({QEMU.name: calls, LXC.name: LxcHypervisor(calls)})
    node_devices = NodeDeviceCalls()
    process.node.serve(
        Dispatcher(
            "hostd",
            connections,
            NodeCalls(node, cpu_changes),
            node_devices,
            PciDeviceCalls(process.node, node_devices, process.paths.run),
            NodeMemoryCalls(node),
            NodeSuspendCalls(),
            CpuCalls(node, emulators),
            calls,
            secrets,
            guard=open_guard(process),
        )
    )
    process.node.serve(secrets)
    cpus = GuestCpus(node, emulators)
    process.node.serve(cpus)
    process.node.serve(HostService(emulators, cpus))
    prefetching = asyncio.create_task(prefetch(emulators))
    await process.ready()
    await process.stopping.wait()
    prefetching.cancel()
    cpu_changes.close()


def base_label(process: ChildProcess) -> str | None:
    """Return the DAC label of guests by default, "+UID:+GID"; None in session mode."""
    if process.session:
        return None
    try:
        user = emulator_user(process.qemu_config)
    except VirError as error:
        log.warning("the capabilities have no DAC label: %s", error)
        return None
    return f"+{user.uid}:+{user.gid}"


async def prefetch(emulators: Emulators) -> None:
    """Probe the emulator of the host's architecture ahead of the first call."""
    try:
        facts = await emulators.host()
        await emulators.models(facts.binary)
    except VirError as error:
        log.info("no emulator to probe: %s", error)


def host_uuid(configured: str, saved: Path) -> str:
    """Return host_uuid of the configuration, else SMBIOS', else a generated one that is saved."""
    for text in (configured, read(Path("/sys/class/dmi/id/product_uuid")), read(saved)):
        try:
            return str(uuid.UUID(text))
        except ValueError:
            continue
    generated = str(uuid.uuid4())
    try:
        saved.parent.mkdir(parents=True, exist_ok=True)
        saved.write_text(generated + "\n")
    except OSError as error:
        log.warning("cannot save the host UUID in %s: %s", saved, error)
    return generated


def read(path: Path) -> str:
    """Read a small file; "" when it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
